# SPDX-License-Identifier: GPL-2.0-or-later
"""A network above pairs and local density: trained, refitted, packaged, deployed; settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_systems import fluid, settings, write_case

from cgpot.core.config import validate
from cgpot.core.errors import ConfigError, DataError
from cgpot.core.files import read_json
from cgpot.molecules.frame import CGFrame
from cgpot.potential.base import Base
from cgpot.potential.density_table import DensityTable
from cgpot.potential.network_potential import load_model
from cgpot.potential.potential import Labels
from cgpot.potential.splines import PairTable
from cgpot.training.evaluation import predictions as ev
from cgpot.training.folder.facts import DataFacts
from cgpot.training.folder.training_folder import Folder
from cgpot.training.network.base_fit import fit_prior
from cgpot.training.network.refit import refit_base
from cgpot.training.settings.train_settings import TrainConfig, load_config
from cgpot.training.training_stage import train

PRIOR = {
    "type": "spline",
    "spacing": 0.5,
    "match_mean_virial": True,
    "match_slope": True,
    "local_density": {"cutoff": 4.5, "knots": 5},
}


def config(**changes: Any) -> TrainConfig:
    return validate(TrainConfig, settings(**changes), "train.yaml")


def slope(frames: list[CGFrame], virial) -> float:
    """Slope of the virial pressure with density, eV/Å^3 per kg/m^3, by numpy."""
    pressures = [np.trace(virial(f)) / (3.0 * f.volume) for f in frames]
    return float(np.polyfit([f.density for f in frames], pressures, 1)[0])


def mean(frames: list[CGFrame], virial) -> float:
    return float(np.mean([np.trace(virial(f)) / (3.0 * f.volume) for f in frames]))


def test_the_prior_meets_mean_and_slope() -> None:
    frames = fluid(12, 1, noise=0.2)
    wanted = config(prior=PRIOR)
    facts = DataFacts.of(frames, 10.0)
    prior = fit_prior(wanted, frames, facts, quiet=True)
    assert prior.table is not None
    assert prior.density is not None

    def base(frame: CGFrame) -> np.ndarray:
        return Base(prior.table, prior.density).labels(frame).virial

    assert slope(frames, base) == pytest.approx(slope(frames, lambda f: f.virial), rel=1e-7)
    assert mean(frames, base) == pytest.approx(mean(frames, lambda f: f.virial), rel=1e-9)
    plain = fit_prior(config(prior={"type": "spline", "spacing": 0.5}), frames, facts, quiet=True)
    assert plain.density is None
    # the yardstick is the pair spline by the forces alone, whatever the prior
    np.testing.assert_allclose(
        prior.yardstick.coefficients, plain.yardstick.coefficients, rtol=1e-9, atol=1e-12
    )


def test_the_refit_finds_what_a_base_lacks() -> None:
    """Labels less those of a base: the change brings mean and slope of the sum to the labels."""
    frames = fluid(12, 1, noise=0.2)
    prior = fit_prior(config(prior=PRIOR), frames, DataFacts.of(frames, 10.0), quiet=True)
    base = Base(prior.table, prior.density)

    def network(frame: CGFrame) -> tuple[np.ndarray, np.ndarray]:
        """Half of the labels' virial, and no force."""
        return np.zeros_like(frame.positions), 0.5 * frame.virial + 0.01 * frame.volume * np.eye(3)

    def labels():
        for frame in frames:
            found, more = base.labels(frame), network(frame)
            yield frame, Labels(found.forces + more[0], found.virial + more[1], found.energy)

    new = refit_base(
        labels(),
        len(frames),
        base,
        temperature=300.0,
        smooth=1e-6,
        match_mean_virial=True,
        match_slope=True,
    )

    def total(frame: CGFrame) -> np.ndarray:
        return new.labels(frame).virial + network(frame)[1]

    assert mean(frames, total) == pytest.approx(mean(frames, lambda f: f.virial), rel=1e-9)
    assert slope(frames, total) == pytest.approx(slope(frames, lambda f: f.virial), rel=1e-7)
    facts = new.pair.info["refit"]
    assert abs(facts["pressure_slope_residual_before"]) > 1.0
    assert abs(facts["pressure_slope_residual_after"]) < 1e-6


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_case(
        tmp_path_factory.mktemp("density"),
        model={"dtype": "float64", "features": 2, "layers": 1},
        prior=PRIOR,
        optimiser={"epochs": 1},
    )
    train(load_config(path), path.parent / "train", quiet=True)
    return path.parent / "train"


def test_training_writes_both_parts_and_refits_them(trained: Path) -> None:
    folder = Folder(trained)
    result = read_json(folder.result)
    assert result["local_density"] == {"cutoff": 4.5, "knots": 5, "weight": "count"}
    assert abs(result["refit"]["pressure_slope_residual_after"]) < 1e-6
    manifest = read_json(Path(f"{folder.result}.manifest.json"))
    assert "density.json" in str(manifest)
    density = DensityTable.read(folder.density_refit)
    pair = PairTable.read(folder.refit)
    np.testing.assert_allclose(ev.pair_coefficients(folder.final), pair.coefficients, rtol=1e-12)
    # the model in the checkpoint, whose files are not needed any more
    model = load_model(folder.final)
    module = next(m for m in model.modules() if type(m).__name__ == "LocalDensity")
    np.testing.assert_array_equal(module.coefficients.numpy(), density.coefficients)
    assert str(trained) not in str(model.state_dict().keys())


def test_it_is_packaged_compiled_and_verified(trained: Path) -> None:
    """`cgpot deploy` compares package and compiled file with the checkpoint."""
    from cgpot.deploy.deployment import deploy
    from cgpot.plugin.plugin_build import build

    build()
    done = deploy(trained, trained.parent / "deploy", quiet=True)
    assert (trained.parent / "deploy" / "model.nequip.pt2").is_file()
    assert done.content["bead_names"] == ["BEA"]


def test_settings_that_cannot_be() -> None:
    for prior in (
        {"type": "wall", "local_density": {}},
        {"type": "none", "match_slope": True},
    ):
        with pytest.raises(ConfigError, match=r"match_slope need prior\.type spline, found"):
            config(prior=prior)
    with pytest.raises(ConfigError, match=r"local_density\.cutoff 8\.0 Å exceeds model\.cutoff 5"):
        config(prior={"type": "spline", "local_density": {"cutoff": 8.0}})
    with pytest.raises(ConfigError, match=r"prior\.local_density\.knots"):
        config(prior={"type": "spline", "local_density": {"cutoff": 4.0, "knots": 3}})
    given = config(prior={"type": "spline", "match_slope": True}, loss={"stress": None})
    assert given.needs_stress
    assert config(prior={"type": "spline"}).prior.local_density is None


def test_one_density_is_refused() -> None:
    frames = fluid(6, 1)
    for frame in frames:
        frame.cell = frames[0].cell
    with pytest.raises(DataError, match="the density of the frames does not vary"):
        fit_prior(config(prior=PRIOR), frames, DataFacts.of(frames, 10.0), quiet=True)


def test_weights_of_the_neighbours() -> None:
    from cgpot.molecules.frame import Topology
    from cgpot.training.settings.density_settings import LocalDensitySection

    topology = Topology(("A", "B"), (10.0, 30.0), np.array([0, 1]), np.arange(2))
    assert LocalDensitySection().weights(topology) == (1.0, 1.0)
    assert LocalDensitySection(weight="mass").weights(topology) == (0.5, 1.5)
