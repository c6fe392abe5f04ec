# SPDX-License-Identifier: GPL-2.0-or-later
"""The output folder of `cgpot train`: the names of its files, and whether it is finished."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cgpot.core.errors import ManifestError
from cgpot.core.manifest import check_manifest, manifest_path

STAGE = "training"


@dataclass(frozen=True)
class Folder:
    """Names of the files in the output folder of `cgpot train`."""

    path: Path

    @property
    def inputs(self) -> Path:
        """What the run was started with, to know it again."""
        return self.path / "inputs.json"

    @property
    def nequip(self) -> Path:
        """nequip's configuration."""
        return self.path / "nequip.yaml"

    @property
    def pair(self) -> Path:
        """Pair part inside the model."""
        return self.path / "pair.json"

    @property
    def refit(self) -> Path:
        """Pair part of the final model, refitted beside the trained network."""
        return self.path / "pair_refit.json"

    @property
    def density(self) -> Path:
        """Local-density part inside the model, where there is one."""
        return self.path / "density.json"

    @property
    def density_refit(self) -> Path:
        """Local-density part of the final model, refitted beside the trained network."""
        return self.path / "density_refit.json"

    @property
    def bonded(self) -> Path:
        """Bonded part below the network, for molecules of several sites."""
        return self.path / "bonded.json"

    @property
    def bonded_fit(self) -> Path:
        """Bonded part of the fit to the forces, which is taken from the labels."""
        return self.path / "bonded_fit.json"

    @property
    def bond_table(self) -> Path:
        """LAMMPS table of the bonds of the bonded part."""
        return self.path / "model.bond"

    @property
    def bend_table(self) -> Path:
        """LAMMPS table of its angles."""
        return self.path / "model.bend"

    @property
    def torsion_table(self) -> Path:
        """LAMMPS table of its dihedrals."""
        return self.path / "model.torsion"

    @property
    def yardstick(self) -> Path:
        """Pair spline by force matching alone."""
        return self.path / "pair_fit.json"

    @property
    def last(self) -> Path:
        """Checkpoint of the last finished epoch."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def best(self) -> Path:
        """Checkpoint of the best epoch."""
        return self.path / "checkpoints" / "best.ckpt"

    @property
    def final(self) -> Path:
        """The model that is evaluated and deployed."""
        return self.path / "model.ckpt"

    @property
    def example(self) -> Path:
        """A few training frames: shapes for packaging, and the check of the compiled model."""
        return self.path / "example.extxyz"

    @property
    def metrics(self) -> Path:
        """Table of the epochs."""
        return self.path / "metrics.csv"

    @property
    def progress(self) -> Path:
        """Batches done."""
        return self.path / "progress.json"

    @property
    def failure(self) -> Path:
        """Where the loss stopped being finite."""
        return self.path / "failure.json"

    @property
    def trained(self) -> Path:
        """Written when nequip-train has ended well."""
        return self.path / "trained.json"

    @property
    def result(self) -> Path:
        """Final figures."""
        return self.path / "result.json"

    @property
    def parity(self) -> Path:
        """Arrays of labels and predictions on the test frames."""
        return self.path / "parity.npz"

    @property
    def curves(self) -> Path:
        """Loss curves as a picture."""
        return self.path / "loss.png"

    @property
    def log(self) -> Path:
        """Output of nequip-train."""
        return self.path / "nequip-train.log"

    @property
    def is_complete(self) -> bool:
        """Whether a finished result stands in it, with all the files of its manifest."""
        if not self.result.is_file() or not manifest_path(self.result).is_file():
            return False
        try:
            check_manifest(self.result, stage=STAGE)
        except ManifestError:
            return False
        return True

    def clear(self) -> None:
        """Remove the files of another run (only those that the stage writes)."""
        for name, value in vars(Folder).items():
            path = getattr(self, name) if isinstance(value, property) else None
            if isinstance(path, Path):
                path.unlink(missing_ok=True)
        manifest_path(self.result).unlink(missing_ok=True)
