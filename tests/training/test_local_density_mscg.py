# SPDX-License-Identifier: GPL-2.0-or-later
"""MS-CG with a local-density part: fitted, written, read, and run by LAMMPS's own local/density."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from linear_systems import lammps_point, shaken, write_case

from cgpot.core.errors import ConfigError, DataError, InputError
from cgpot.core.files import write_text
from cgpot.deploy.deployment import deploy
from cgpot.ensemble.linear_mean import mean_mscg
from cgpot.potential.base import density_labels
from cgpot.potential.density_table import DensityTable, natural
from cgpot.potential.lammps_density import density_text
from cgpot.potential.local_density import around, sampled_spans
from cgpot.training.linear.mscg import MSCGPotential, fit_mscg
from cgpot.training.settings.model_settings import MSCGConfig
from cgpot.training.settings.train_settings import load_config
from cgpot.training.training_stage import train

CUTOFF = 6.5


def bonded(frame, pairs):
    return frame.topology.molecules[pairs.i] == frame.topology.molecules[pairs.j]


def densities(frames, molecule):
    """A truth that no pair potential has: F = 0.04 (rho - mean)^2 between molecules."""
    exclude = bonded if molecule > 1 else None
    names = frames[0].topology.type_names
    spans = sampled_spans(frames, 6.0, "lammps", [1.0] * len(names), exclude)
    # far enough that every frame lies between the knots, with the curvature of a parabola
    low, high = spans.min(), spans.max()
    step = (high - low) / 6
    x = low + step * (np.arange(9) - 1)
    c = 0.04 * ((x - x.mean()) ** 2 - step**2 / 3.0)
    return DensityTable(
        names,
        6.0,
        "lammps",
        tuple(1.0 for _ in names),
        np.array([[low, high]] * len(names)),
        np.array([c * (1.0 + 0.5 * k) for k in range(len(names))]),
        {},
    )


def squeezed(seed, types, molecule):
    """A shaken lattice at a density of its own."""
    frame = shaken(seed, types, molecule=molecule)
    if molecule > 1:
        return frame
    scale = 1.0 + 0.01 * np.sin(seed)
    return replace(frame, cell=scale * frame.cell, positions=scale * frame.positions)


def known(types, molecule=1):
    """Frames whose labels are those of repulsive pairs, springs and the truth."""
    frames = [squeezed(k, types, molecule) for k in range(24)]
    table = densities(frames, molecule)
    found = []
    for frame in frames:
        forces, virial, _ = density_labels(table, frame, bonded if molecule > 1 else None)
        delta = frame.positions[None] - frame.positions[:, None]
        delta -= np.rint(delta @ np.linalg.inv(frame.cell)) @ frame.cell
        r = np.linalg.norm(delta, axis=-1)
        np.fill_diagonal(r, np.inf)
        slope = -0.3 * np.where(r < CUTOFF, (1.0 - r / CUTOFF), 0.0) ** 3
        if molecule > 1:
            same = frame.topology.molecules[:, None] == frame.topology.molecules[None]
            slope = np.where(same, 6.0 * (np.where(same, r, 1.6) - 1.6), slope)
            np.fill_diagonal(slope, 0.0)
        pull = (slope / r)[:, :, None] * delta
        forces = forces + pull.sum(axis=1)
        virial = virial - 0.5 * np.einsum("ija,ijb->ab", delta, pull)
        found.append(replace(frame, forces=forces, virial=virial))
    return found


@pytest.mark.parametrize(("types", "molecule"), [(1, 1), (2, 1), (2, 2)])
def test_deployed_tables_are_the_potential(tmp_path, types, molecule):
    frames = known(types, molecule)
    bonds = ", bonds: {spacing: 0.1}" if molecule > 1 else ""
    slope = "true" if molecule == 1 else "false"
    path = write_case(
        tmp_path,
        frames,
        "cutoff: 6.5, spacing: 0.2, smooth: 1.0e-9, match_mean_virial: true, "
        f"match_slope: {slope}, local_density: {{cutoff: 6.0, knots: 6}}{bonds}",
    )
    outcome = train(load_config(path), tmp_path / "out", quiet=True)
    # what is left is at the walls, which are not those of the labels
    rmse, pairs = outcome.result["force_rmse"], outcome.result["force_rmse_pair_fit"]
    assert rmse < 0.6 * pairs
    potential = MSCGPotential.read(tmp_path / "out" / "mscg.json")
    assert (potential.density._exclude is not None) == (molecule > 1)
    frame = frames[0]
    ours = potential.labels(frame)
    deploy(tmp_path / "out", tmp_path / "deployed", quiet=True)
    include = tmp_path / "deployed" / "model.pair.lmp"
    energy, forces, virial = lammps_point(
        tmp_path / "run", frame, include, potential.bonded if molecule > 1 else None
    )
    np.testing.assert_allclose(forces, ours[0], atol=2e-5 * np.abs(ours[0]).max())
    np.testing.assert_allclose(virial, ours[1], atol=2e-5 * np.abs(ours[1]).max())
    # of one potential each, LAMMPS shifts the energy of bonds
    if molecule == 1:
        assert energy == pytest.approx(ours[2], rel=2e-5, abs=1e-5)
    record = outcome.result["fit"]
    if molecule == 1:
        assert record["pressure_slope"]["model"]["value"] == pytest.approx(
            record["pressure_slope"]["labels"]["value"], rel=1e-7
        )


@pytest.mark.parametrize("types", [1, 2])
def test_the_file_of_lammps_alone(tmp_path, types):
    """local/density without any other style, to 1e-6, sites beyond the knots included."""
    frame = shaken(3, types)
    rng = np.random.default_rng(4)
    rho = around(frame, 6.0, "lammps", [1.0] * types).rho
    spans = np.array([[np.quantile(rho, 0.1), np.quantile(rho, 0.8)], [2.0, 5.0]])[:types]
    table = DensityTable(
        frame.topology.type_names,
        6.0,
        "lammps",
        (1.0,) * types,
        spans,
        rng.normal(size=(types, 7)) @ natural(6).T,
        {},
    )
    file = write_text(tmp_path / "model.density", density_text(table))
    include = tmp_path / "density.lmp"
    include.write_text(f"pair_style local/density\npair_coeff * * {file}\n")
    energy, forces, virial = lammps_point(tmp_path / "run", frame, include)
    ours = density_labels(table, frame)
    assert np.any(rho > spans[0, 1])
    np.testing.assert_allclose(forces, ours[0], atol=1e-6 * np.abs(ours[0]).max())
    np.testing.assert_allclose(virial, ours[1], atol=1e-6 * np.abs(ours[1]).max())
    assert energy == pytest.approx(ours[2], rel=1e-6)
    # an isolated pair: far below all knots, where F goes on as a straight line
    lone = replace(
        frame,
        topology=replace(
            frame.topology,
            types=np.zeros(2, int),
            molecules=np.arange(2),
        ),
        positions=np.array([[1.0, 1.0, 1.0], [3.0, 2.0, 1.0]]),
        cell=20.0 * np.eye(3),
    )
    energy, forces, _ = lammps_point(tmp_path / "lone", lone, include)
    ours = density_labels(table, lone)
    np.testing.assert_allclose(forces, ours[0], atol=1e-6 * np.abs(ours[0]).max())
    assert energy == pytest.approx(ours[2], rel=1e-6)


def test_what_lammps_does_not_have_is_refused(tmp_path):
    frames = known(2)
    section = {"cutoff": 6.0, "knots": 6, "weight": "mass"}
    model = MSCGConfig(cutoff=6.5, spacing=0.5, local_density=section)
    with pytest.raises(ConfigError, match="LAMMPS's local/density counts every neighbour alike"):
        fit_mscg(model, frames, 300.0, quiet=True)
    table = densities(frames, 1)
    with pytest.raises(InputError, match="has the indicator 'lammps' and weights of 1; found 'sm"):
        density_text(replace(table, indicator="smooth"))
    with pytest.raises(ValueError, match=r"local_density.cutoff 8\.0 Å exceeds cutoff 6\.5 Å"):
        MSCGConfig(cutoff=6.5, local_density={"cutoff": 8.0})


def test_one_density_has_no_slope():
    frames = [replace(f, cell=known(1)[0].cell) for f in known(1)]
    model = MSCGConfig(cutoff=6.5, spacing=0.5, match_slope=True)
    assert model.needs_virial
    with pytest.raises(DataError, match="the density of the frames does not vary"):
        fit_mscg(model, frames, 300.0, quiet=True)


def test_means_of_members_are_refused(tmp_path):
    frames = known(1)
    model = MSCGConfig(cutoff=6.5, spacing=0.5, local_density={"cutoff": 6.0, "knots": 6})
    potential, _ = fit_mscg(model, frames, 300.0, quiet=True)
    folders = [tmp_path / f"member.{k}" for k in range(2)]
    for folder in folders:
        folder.mkdir()
        potential.write(folder / "mscg.json")
    again = MSCGPotential.read(folders[0] / "mscg.json")
    np.testing.assert_allclose(again.labels(frames[0])[0], potential.labels(frames[0])[0])
    assert again.density.free().sum() == potential.density.free().sum()
    with pytest.raises(InputError, match=r"a local-density part.* has no mean"):
        mean_mscg(folders)
