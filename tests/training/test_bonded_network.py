# SPDX-License-Identifier: GPL-2.0-or-later
"""Networks of molecules of several sites: their bonded part, from the fit to LAMMPS."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))

from chain_systems import run_lammps, sample
from training_systems import fluid

from cgpot.core.errors import ConfigError, InputError
from cgpot.formats.lammps.bonded_sections import sections_of
from cgpot.formats.lammps.cg_data import write_data
from cgpot.molecules.extxyz import read_frames, to_atoms, write_frames
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.pairs import half_list, hidden_pairs
from cgpot.molecules.topology import Topology
from cgpot.potential.ase_calculator import PotentialCalculator
from cgpot.potential.site_graph import neighbours
from cgpot.training.linear.bonded_part import BondedPart, fit_bonded, seen_pairs
from cgpot.training.open_potential import open_potential
from cgpot.training.settings.train_settings import TrainConfig, load_config
from cgpot.training.training_stage import train

TEMPERATURE = 300.0


@pytest.fixture(scope="module")
def chains(tmp_path_factory: pytest.TempPathFactory) -> list[CGFrame]:
    """Frames of chains A-B-A-A with their bonds stated."""
    frames = sample(tmp_path_factory.mktemp("chains"), 60, every=50)
    old = frames[0].topology
    first = 4 * np.arange(old.n_sites // 4)[:, None]
    bonds = np.concatenate([np.hstack([first + k, first + k + 1]) for k in range(3)])
    topology = Topology.from_bonds(old.type_names, old.type_masses, old.types, old.molecules, bonds)
    return [replace(frame, topology=topology) for frame in frames]


def settings(**changes: object) -> dict[str, object]:
    record: dict[str, object] = {
        "data": {"train": "train.extxyz", "val": "val.extxyz"},
        "system": {"temperature": TEMPERATURE},
        "model": {"cutoff": 9.0, "features": 4, "radial_width": 8, "dtype": "float64"},
        "loss": {"stress": None},
        "optimiser": {"epochs": 1, "batch_size": 2},
    }
    return {**record, **changes}


def write_case(folder: Path, frames: list[CGFrame], **changes: object) -> TrainConfig:
    folder.mkdir(parents=True, exist_ok=True)
    write_frames(folder / "train.extxyz", frames[:-4])
    write_frames(folder / "val.extxyz", frames[-4:])
    (folder / "train.yaml").write_text(yaml.safe_dump(settings(**changes)))
    return load_config(folder / "train.yaml")


@pytest.mark.parametrize(("bonded", "left"), [("forces", 0.2), ("inversion", 0.4)])
def test_what_is_subtracted_is_what_is_written(
    chains: list[CGFrame], tmp_path: Path, bonded: str, left: float
) -> None:
    config = write_case(tmp_path, chains, prior={"bonded": bonded})
    found = fit_bonded(config, chains[:-4], quiet=True)
    assert found is not None
    part = found.run
    assert (part is found.taken) == (bonded == "forces")
    assert np.std(found.taken.remainder(chains[-3]).forces) < 0.2 * np.std(chains[-3].forces)
    assert sorted(part.potential.bonded.parts) == ["angle", "bond", "dihedral"]
    again = BondedPart.read(part.write(tmp_path / "bonded.json"))
    frame = chains[-3]
    forces, virial, _ = part.labels(frame)
    rest = again.remainder(replace(frame, virial=np.eye(3)))
    np.testing.assert_allclose(rest.forces + forces, frame.forces, atol=1e-12)
    np.testing.assert_allclose(rest.virial + virial, np.eye(3), atol=1e-12)
    # by finite differences of the part's own energy
    step = 1e-5
    for site, axis in ((0, 0), (6, 2), (41, 1)):
        energies = []
        for sign in (1, -1):
            moved = frame.positions.copy()
            moved[site, axis] += sign * step
            energies.append(part.labels(replace(frame, positions=moved))[2])
        slope = (energies[0] - energies[1]) / (2 * step)
        assert -slope == pytest.approx(forces[site, axis], abs=1e-7)
    # the bonds are gone from the labels: what stays is far smaller
    assert np.std(rest.forces) < left * np.std(frame.forces)


def test_the_graph_leaves_out_what_the_base_leaves_out(chains: list[CGFrame]) -> None:
    frame = chains[0]
    edges, _ = neighbours(frame, 9.0, "not-1-3")
    pairs = half_list(frame, 9.0)
    hidden = hidden_pairs("not-1-3")
    assert hidden is not None
    mask = hidden(frame, pairs)
    assert edges.shape[1] == 2 * int((~mask).sum())
    same = frame.topology.molecules[pairs.i] == frame.topology.molecules[pairs.j]
    places = np.abs(pairs.i - pairs.j)
    near = pairs.distance < 8.0  # of several images of a pair only the nearest is bonded
    np.testing.assert_array_equal(mask[near], (same & (places <= 2))[near])
    assert hidden_pairs("all") is None


def test_one_site_molecules_have_no_bonded_part(tmp_path: Path) -> None:
    frames = fluid(16, 1)
    config = write_case(tmp_path, frames, model={"cutoff": 5.0})
    assert fit_bonded(config, frames) is None
    assert seen_pairs(config, frames[0].topology) == "all"


@pytest.mark.parametrize("pairs", ["all", "intermolecular"])
def test_pairs_that_are_not_to_be_had(chains: list[CGFrame], tmp_path: Path, pairs: str) -> None:
    config = write_case(tmp_path, chains, model={"cutoff": 9.0, "pairs": pairs})
    with pytest.raises(ConfigError, match=rf"key 'model.pairs': '{pairs}' is not to be had"):
        seen_pairs(config, chains[0].topology)


def test_molecules_need_their_bonds(chains: list[CGFrame], tmp_path: Path) -> None:
    old = chains[0].topology
    bare = Topology(old.type_names, old.type_masses, old.types, old.molecules)
    config = write_case(tmp_path, [replace(frame, topology=bare) for frame in chains])
    with pytest.raises(InputError, match="a network needs the bonds of species"):
        train(config, tmp_path / "out", quiet=True)


def test_molecules_need_a_base(chains: list[CGFrame], tmp_path: Path) -> None:
    config = write_case(tmp_path, chains, prior={"type": "none"})
    with pytest.raises(ConfigError, match=r"prior.type.*need a base below the network"):
        train(config, tmp_path / "out", quiet=True)


@pytest.mark.slow
def test_lammps_runs_what_was_trained(chains: list[CGFrame], tmp_path: Path) -> None:
    """Forces and virial of base, network and bonded tables in LAMMPS, against Python and ASE."""
    from cgpot.deploy.deployment import deploy

    config = write_case(tmp_path, chains)
    outcome = train(config, tmp_path / "out", quiet=True)
    assert outcome.result["pairs"] == "not-1-4"
    deployment = deploy(tmp_path / "out", tmp_path / "deployed", quiet=True)
    content = deployment.content
    assert content["pairs"] == "not-1-4"
    frame = next(read_frames(tmp_path / "val.extxyz"))
    terms = sections_of(content["bonded"], frame.topology, deployment.sidecar, "val.extxyz")
    write_data(tmp_path / "system.data", frame, bonded=terms)
    folder = deployment.sidecar.parent
    run_lammps(
        tmp_path,
        "units metal\natom_style molecular\nspecial_bonds lj/coul 1.0 1.0 1.0\n"
        "read_data system.data\npair_style cgpot\n"
        f"pair_coeff * * {folder / 'model.nequip.pt2'} A B\n"
        f"include {folder / content['bonded_file']}\n"
        "compute w all pressure NULL virial\nthermo_style custom step pe c_w[1] c_w[2] c_w[3]\n"
        "thermo_modify format float %.15g\n"
        "dump d all custom 1 forces.dump id fx fy fz\n"
        "dump_modify d sort id format float %.15g\nrun 0\n"
        'print "$(c_w[1]) $(c_w[2]) $(c_w[3])" file virial.txt\n',
    )
    rows = (tmp_path / "forces.dump").read_text().splitlines()[9:]
    found = np.array([line.split()[1:] for line in rows], dtype=float)
    forces, virial, _ = open_potential(tmp_path / "out").labels(frame)
    np.testing.assert_allclose(found, forces, atol=1e-6 * np.abs(forces).max())
    atoms = to_atoms(frame)
    atoms.calc = PotentialCalculator(open_potential(tmp_path / "out"))
    np.testing.assert_allclose(atoms.get_forces(), found, atol=1e-6 * np.abs(forces).max())
    bar = np.array((tmp_path / "virial.txt").read_text().split(), dtype=float)
    expected = np.diagonal(virial) / frame.volume * 1.602176634e6
    np.testing.assert_allclose(bar, expected, atol=1e-5 * np.abs(expected).max())


MSCG = {"type": "mscg", "cutoff": 9.0, "bonds": {"between": "chain"}, "angles": {}}


def test_inverted_bonds_of_mscg_have_no_error_bars(chains: list[CGFrame], tmp_path: Path) -> None:
    errors = {}
    for bonded in ("forces", "inversion"):
        config = write_case(tmp_path / bonded, chains, model={**MSCG, "bonded": bonded})
        train(config, tmp_path / bonded / "out", quiet=True)
        for name in ("bond_A-B", "pair_A-B"):
            table = np.genfromtxt(
                tmp_path / bonded / "out" / f"{name}.csv", delimiter=",", names=True
            )
            errors[bonded, name] = table["f_error_eV_per_A"]
    assert np.isnan(errors["inversion", "bond_A-B"]).all()
    assert np.isfinite(errors["forces", "bond_A-B"]).all()
    # the pairs are those of the joint fit
    np.testing.assert_array_equal(errors["inversion", "pair_A-B"], errors["forces", "pair_A-B"])


def test_inversion_of_bonds_that_the_data_do_not_have(
    chains: list[CGFrame], tmp_path: Path
) -> None:
    old = chains[0].topology
    bare = Topology(old.type_names, old.type_masses, old.types, old.molecules)
    frames = [replace(frame, topology=bare) for frame in chains]
    config = write_case(tmp_path, frames, model={**MSCG, "bonded": "inversion"})
    with pytest.raises(ConfigError, match=r"key 'model.bonded': 'inversion', but all terms lie in"):
        train(config, tmp_path / "out", quiet=True)
    assert not (tmp_path / "out" / "result.json").exists()
