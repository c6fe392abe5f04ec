# SPDX-License-Identifier: GPL-2.0-or-later
"""UF3 potentials: pair and three-body splines, which LAMMPS runs itself.

Xie, Rupp & Hennig, npj Comput. Mater. 9, 162 (2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.core.files import read_record, write_json
from cgpot.molecules.frame import CGFrame
from cgpot.potential.basis import Basis, Joint
from cgpot.potential.lammps_commands import LammpsParts
from cgpot.potential.lammps_tables import PAIR_POINTS
from cgpot.potential.pair_basis import PairBasis
from cgpot.potential.potential import Labels
from cgpot.potential.splines import PairTable
from cgpot.potential.uf3_files import short_pair, uf3_text
from cgpot.potential.uf3_threebody import ThreeBody, ThreeBodyGrid

Array = NDArray[np.float64]
FORMAT = "cgpot-uf3-1"


@dataclass(frozen=True)
class UF3Potential:
    """A fitted UF3 potential.

    Attributes:
        pair: the two-body part.
        grid: knots of the three-body part; None without one.
        three: its coefficients, eV, as `ThreeBody` orders them.
        info: facts about the fit (plain data).
        overlay: LAMMPS runs the pair part as a table beside the three-body part.
    """

    pair: PairTable
    grid: ThreeBodyGrid | None
    three: Array
    info: dict[str, Any]
    overlay: bool = False

    @property
    def type_names(self) -> tuple[str, ...]:
        """Bead types."""
        return self.pair.type_names

    @property
    def cutoff(self) -> float:
        """Largest distance at which two beads act on each other, Å."""
        return max(self.pair.r_max, self.grid.cutoff if self.grid is not None else 0.0)

    def basis(self) -> tuple[Joint, Array]:
        """The basis and the coefficients in its order."""
        parts: dict[str, Basis] = {
            "pair": PairBasis(self.type_names, self.pair.r_max, self.pair.spacing, temperature=1.0)
        }
        coefficients = [self.pair.coefficients.ravel()]
        if self.grid is not None:
            parts["three"] = ThreeBody(self.type_names, self.grid)
            coefficients.append(self.three)
        return Joint(parts), np.concatenate(coefficients)

    def labels(self, frame: CGFrame) -> Labels:
        """Forces (n, 3) in eV/Å, virial (3, 3) in eV and energy in eV on a frame."""
        joint, c = self.basis()
        return joint.labels(c, frame)

    def write(self, path: str | Path) -> Path:
        """Write as JSON."""
        grid = self.grid
        record = {
            "format": FORMAT,
            "type_names": list(self.type_names),
            "pair": {
                "r_max_A": self.pair.r_max,
                "coefficients_eV": self.pair.coefficients.tolist(),
            },
            "three_body": None
            if grid is None
            else {
                "inner_A": grid.inner,
                "cutoff_A": grid.cutoff,
                "intervals": grid.intervals,
                "coefficients_eV": self.three.tolist(),
            },
            "info": self.info,
            "overlay": self.overlay,
        }
        return write_json(path, record)

    @classmethod
    def read(cls, path: str | Path) -> UF3Potential:
        """Read what `write` wrote.

        Raises:
            InputError: another format, a missing key, or coefficients of the wrong number.
        """
        record = read_record(path, FORMAT, "a UF3 potential")
        try:
            names = tuple(record["type_names"])
            pair = PairTable(
                names,
                float(record["pair"]["r_max_A"]),
                np.asarray(record["pair"]["coefficients_eV"], dtype=np.float64),
                {},
            )
            three = record["three_body"]
            grid, c = None, np.zeros(0)
            if three is not None:
                grid = ThreeBodyGrid(three["inner_A"], three["cutoff_A"], three["intervals"])
                c = np.asarray(three["coefficients_eV"], dtype=np.float64)
        except KeyError as err:
            raise InputError("the key is missing", file=path, key=str(err.args[0])) from err
        if grid is not None and c.shape != (ThreeBody(names, grid).size,):
            raise InputError(
                f"expected {ThreeBody(names, grid).size} coefficients, found {c.size}",
                file=path,
                key="three_body",
            )
        info = dict(record.get("info", {}))
        return cls(pair, grid, c, info, bool(record.get("overlay", False)))

    def lammps_parts(self) -> LammpsParts:
        """The file of ``pair_style uf3``, or its three-body part with the pair part as a table.

        The table takes half the time of the pairs; without triplets there is nothing beside it.
        """
        bodies = 2 if self.grid is None else 3
        if not self.overlay or self.grid is None:
            return LammpsParts(uf3=(uf3_text(self.pair, self.grid, self.three), bodies))
        text = uf3_text(short_pair(self.pair, self.grid.cutoff), self.grid, self.three)
        return LammpsParts(
            pair=self.pair, interpolation=f"linear {PAIR_POINTS}", uf3=(text, bodies)
        )
