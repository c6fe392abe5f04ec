# SPDX-License-Identifier: GPL-2.0-or-later
"""Pure liquids and their mixture in one data set: from mapped runs to one potential."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))

import composition_systems as three

from cgpot.cli.dataset import summary
from cgpot.cli.slope_table import composition_cells
from cgpot.core.errors import ConfigError, DataError, InputError
from cgpot.core.files import read_json
from cgpot.dataset.dataset_stage import BuiltDataset, build_dataset
from cgpot.dataset.split import SplitPlan
from cgpot.molecules.charges import no_coulomb
from cgpot.molecules.compositions import (
    CommonTypes,
    blocks_of,
    catalogue,
    composition_of,
    groups_of,
)
from cgpot.molecules.extxyz import read_frames
from cgpot.molecules.molecular_virial import label_virial
from cgpot.molecules.species import Species
from cgpot.molecules.topology import Topology
from cgpot.report.facts import _dataset_rows
from cgpot.training.evaluation.evaluation_stage import evaluate_model
from cgpot.training.folder.facts import DataFacts
from cgpot.training.linear.bonded_part import BondedPart
from cgpot.training.linear.mscg import MSCGPotential
from cgpot.training.open_potential import open_potential
from cgpot.training.settings.train_settings import load_config
from cgpot.training.training_stage import train

PLAN = SplitPlan((0.7, 0.15, 0.15), gap_frames=0)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuiltDataset:
    folder = tmp_path_factory.mktemp("three")
    return build_dataset(three.write_runs(folder), folder / "set", PLAN, quiet=True)


def settings(folder: Path, data: Path, **changes: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "data": {name: str(data / f"{name}.extxyz.xz") for name in ("train", "val", "test")},
        "system": {"temperature": 300.0},
        "model": {
            "type": "mscg",
            "cutoff": three.REACH,
            "spacing": 0.4,
            "bonds": {"between": "chain", "spacing": 0.1},
            "match_mean_virial": True,
            "match_slope": True,
            "smooth": 1e-12,
            "ridge": 0,
        },
        **changes,
    }
    (folder / "train.yaml").write_text(yaml.safe_dump(record))
    return folder / "train.yaml"


@pytest.fixture(scope="module")
def trained(built: BuiltDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fit")
    train(load_config(settings(folder, built.folder)), folder / "out", quiet=True)
    return folder / "out"


def test_every_composition_is_in_every_subset(built: BuiltDataset) -> None:
    for name, count in (("train", 42), ("val", 9), ("test", 9)):
        frames = list(read_frames(built.folder / f"{name}.extxyz.xz", several=True))
        groups = groups_of(frames)
        assert {key: len(mine) for key, mine in groups.items()} == dict.fromkeys(
            ("DIM", "B", "7 B, 5 DIM"), count
        )
        assert {frame.topology.type_names for frame in frames} == {("A", "C", "B")}
        for frame in frames:
            assert frame.topology.has_bonds
            np.testing.assert_allclose(frame.forces, three.known_labels(frame)[0], atol=2e-3)
    states = [frame.state for frame in frames]
    assert states[0] is not None
    assert states[0].endswith("-DIM")
    assert states[-1] is not None
    assert states[-1].endswith("-7B+5DIM")


def test_the_report_keeps_compositions_apart(built: BuiltDataset) -> None:
    report = built.report
    assert report["n_frames"] == 180
    assert report["bead_type_names"] == ["A", "C", "B"]
    for key in ("n_sites", "bead_type_counts", "rdf", "rdf_pairs", "density_kg_m3"):
        assert report[key] is None
    parts = {item["composition"]: item for item in report["compositions"]}
    assert parts["DIM"]["bead_type_counts"] == [16, 16, 0]
    assert parts["B"]["n_sites"] == 30
    assert sorted(parts["B"]["rdf_pairs"]) == ["B-B"]
    assert sorted(parts["7 B, 5 DIM"]["rdf_pairs"]) == ["A-A", "A-B", "A-C", "B-B", "C-B", "C-C"]
    names = [name for name, _ in summary(report)]
    assert "first peak of g(r)" not in names
    shown = dict(_dataset_rows(report))["Compositions"]
    assert shown == "DIM (60 frames); B (60 frames); 7 B, 5 DIM (60 frames)"
    frames = three.make(16, 0, 60, 1)
    density = np.mean([frame.density for frame in frames])
    assert parts["DIM"]["density_kg_m3"]["mean"] == pytest.approx(density, rel=1e-5)


def test_one_fit_gives_the_known_forces_of_each(trained: Path, built: BuiltDataset) -> None:
    result = read_json(trained / "result.json")
    assert result["density_kg_m3"] is None
    assert sorted(result["compositions"]) == ["7 B, 5 DIM", "B", "DIM"]
    potential = MSCGPotential.read(trained / "mscg.json")
    assert [kind.name for kind in potential.topology.species] == ["B", "DIM"]
    for dimers, atoms in ((16, 0), (0, 30), (10, 14), (3, 40)):
        (frame,) = three.make(dimers, atoms, 1, 77)
        own = CommonTypes([potential.topology], ["model"]).of(frame.topology)
        if own.type_names != potential.topology.type_names:
            types = CommonTypes([potential.topology, frame.topology], ["model", "frame"])
            own = types.of(frame.topology)
        forces, virial, _ = potential.labels(replace(frame, topology=own))
        known, w = three.known_labels(frame)
        assert np.abs(forces - known).max() < 0.03 * np.abs(known).max()
        assert np.sqrt(np.mean((forces - known) ** 2)) < 0.01 * np.sqrt(np.mean(known**2))
        np.testing.assert_allclose(virial, w, atol=0.005 * np.abs(w).max())


def test_mean_pressure_and_slope_are_right_for_each(trained: Path, built: BuiltDataset) -> None:
    """The constraints hold for each composition, not for their sum alone."""
    potential = MSCGPotential.read(trained / "mscg.json")
    frames = list(read_frames(built.folder / "train.extxyz.xz", several=True))
    found = [potential.labels(f) for f in frames]
    labels = [
        replace(f, forces=x.forces, virial=x.virial) for f, x in zip(frames, found, strict=True)
    ]
    model, trace = (
        np.array([np.trace(label_virial(f)[0]) / f.volume for f in some])
        for some in (labels, frames)
    )
    density = np.array([f.density for f in frames])
    for mine in groups_of(frames).values():
        assert model[mine].mean() == pytest.approx(trace[mine].mean(), rel=1e-7)
        slopes = [np.polyfit(density[mine], x[mine], 1)[0] for x in (model, trace)]
        assert slopes[0] == pytest.approx(slopes[1], rel=1e-5)


def test_evaluation_tells_compositions_apart(
    trained: Path, built: BuiltDataset, tmp_path: Path
) -> None:
    record = evaluate_model(
        trained, [built.folder / "test.extxyz.xz"], tmp_path / "eval", quiet=True
    )
    assert record["pressure_slope"] is None
    assert list(record["compositions"]) == ["DIM", "B", "7 B, 5 DIM"]
    frames = list(read_frames(built.folder / "test.extxyz.xz", several=True))
    potential = MSCGPotential.read(trained / "mscg.json")
    for name, mine in groups_of(frames).items():
        square = [(potential.labels(frames[k])[0] - frames[k].forces) ** 2 for k in mine]
        rmse = float(np.sqrt(np.mean(np.concatenate(square))))
        assert record["compositions"][name]["force_rmse"] == pytest.approx(rmse, rel=1e-6)
    rows = composition_cells(record["compositions"])
    assert [row[0] for row in rows if "force" in row[0]] == [
        f"{name}: force rmse, eV/Å" for name in ("DIM", "B", "7 B, 5 DIM")
    ]
    assert sum("dP/dρ" in row[0] for row in rows) == 3
    assert composition_cells(None) == []


def test_facts_are_within_compositions(built: BuiltDataset) -> None:
    frames = list(read_frames(built.folder / "train.extxyz.xz", several=True))
    facts = DataFacts.of(frames, 1.0)
    groups = groups_of(frames).values()
    density = np.array([f.density for f in frames])
    square = sum(len(g) * np.var(density[g]) for g in groups) / len(frames)
    assert facts.density_std == pytest.approx(np.sqrt(square))
    assert facts.density_std < 0.5 * np.std(density)
    b = np.concatenate([f.forces[np.array(f.topology.names) == "B"] for f in frames])
    assert facts.type_force_rms[2] == pytest.approx(np.sqrt(np.mean(b**2)))
    for block in range(5):
        assert len(groups_of([f for f, k in zip(frames, blocks_of(frames, 5), strict=True)
                              if k == block])) == 3  # fmt: skip


def test_a_network_of_pure_liquids_and_mixture(built: BuiltDataset, tmp_path: Path) -> None:
    """Graphs, bonded part and base follow each frame's own molecules."""
    path = settings(
        tmp_path,
        built.folder,
        model={"cutoff": 6.0, "features": 4, "radial_width": 8, "dtype": "float64"},
        loss={"stress": "auto"},
        optimiser={"epochs": 1, "batch_size": 4},
    )
    train(load_config(path), tmp_path / "out", quiet=True)
    model = open_potential(tmp_path / "out")
    part = BondedPart.read(tmp_path / "out" / "bonded.json")
    frames = list(read_frames(built.folder / "test.extxyz.xz", several=True))
    examples = list(read_frames(tmp_path / "out" / "example.extxyz", several=True))
    assert len(groups_of(examples)) == 3
    for frame in frames:
        forces = model.potential.labels(frame).forces
        assert forces.shape == frame.positions.shape
        bonded = part.labels(frame)[0]
        single = np.array(frame.topology.names) == "B"
        assert not bonded[single].any()
        if not single.all():
            assert np.abs(bonded[~single]).max() > 0.01


@pytest.mark.parametrize(
    "changes", [{"slope": 1.0}, {"energy": 1.0, "forces": 1.0, "stress": None}]
)
def test_losses_that_compare_frames(built: BuiltDataset, tmp_path: Path, changes: dict) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("train", "val", "test"):
        frames = list(read_frames(built.folder / f"{name}.extxyz.xz", several=True))
        from cgpot.molecules.extxyz import write_frames

        write_frames(data / f"{name}.extxyz.xz", [replace(f, energy=-1.0) for f in frames])
    path = settings(
        tmp_path, data, model={"cutoff": 4.5}, loss=changes, optimiser={"batch_size": 4}
    )
    word = "slope" if "slope" in changes else "energy"
    with pytest.raises(InputError, match=rf"loss.{word} compares frames of one .* 3: DIM; B; 7 B"):
        train(load_config(path), tmp_path / "out", quiet=True)
    linear = settings(tmp_path / "linear", data)
    with pytest.raises(InputError, match=r"\(model.energy\) compares frames of one"):
        train(load_config(linear), tmp_path / "linear" / "out", quiet=True)


def test_a_density_that_one_composition_does_not_vary(tmp_path: Path) -> None:
    runs = [
        three.write_run(tmp_path / "a.extxyz", three.make(16, 0, 30, 1)),
        three.write_run(tmp_path / "b.extxyz", three.make(0, 30, 30, 2, spread=0.0)),
        three.write_run(tmp_path / "c.extxyz", three.make(10, 14, 30, 3)),
    ]
    data = build_dataset(runs, tmp_path / "set", PLAN, quiet=True).folder
    with pytest.raises(DataError, match="the density of the frames of B does not vary"):
        train(load_config(settings(tmp_path, data)), tmp_path / "out", quiet=True)


def test_names_that_mean_two_things(tmp_path: Path) -> None:
    a, b, _ = three.write_runs(tmp_path, 6)
    heavy = three.make(0, 30, 6, 2)
    for frame in heavy:
        frame.topology = replace(frame.topology, type_masses=(36.0,))
    other = three.write_run(tmp_path / "heavy.extxyz", heavy)
    with pytest.raises(InputError, match=r"heavy.extxyz: bead type 'B' has 36 amu .* atoms.extxyz"):
        build_dataset([a, b, other], tmp_path / "set", PLAN, quiet=True)
    made = three.make(10, 14, 6, 3)
    turned = replace(made[0].topology, species=(Species("DIM", ("A", "C"), None), three.ATOM))
    third = three.write_run(tmp_path / "c.extxyz", [replace(f, topology=turned) for f in made])
    with pytest.raises(InputError, match=r"c.extxyz: species DIM .* dimers.extxyz DIM .* one kind"):
        build_dataset([a, third], tmp_path / "set", PLAN, quiet=True)
    assert not (tmp_path / "set" / "train.extxyz.xz").exists()


def test_catalogue_and_words() -> None:
    mixture, pure = three.topology(10, 14), three.topology(16, 0)
    assert composition_of(mixture) == "7 B, 5 DIM"
    assert composition_of(pure) == "DIM"
    assert composition_of(three.topology(20, 28)) == "7 B, 5 DIM"
    found = catalogue([CommonTypes([pure, mixture], "ab").of(pure), mixture])
    assert found.n_molecules == 2
    assert found.names == ["B", "A", "C"]
    with pytest.raises(DataError, match="no topologies"):
        catalogue([])
    with pytest.raises(DataError, match=r"bead types \['A', 'C', 'B'\] differ from \['A', 'C'\]"):
        catalogue([pure, mixture])
    turned = Topology(
        pure.type_names, pure.type_masses, pure.types, pure.molecules,
        species=(Species("DIM", ("A", "C"), None),),
    )  # fmt: skip
    with pytest.raises(DataError, match="two species of one name, 'DIM'"):
        catalogue([pure, turned])


def test_analysis_takes_one_composition(built: BuiltDataset, tmp_path: Path) -> None:
    """One fluid against one reference: the file and frame that differ are named."""
    from cgpot.analysis.sources import replica_frames

    mixed = tmp_path / "mixed.extxyz.xz"
    shutil.copy(built.folder / "test.extxyz.xz", mixed)
    with pytest.raises(InputError, match=r"mixed.extxyz.xz, frame 9: 30 B differ from 16 DIM"):
        list(replica_frames([mixed]))
    runs = built.folder.parent
    with pytest.raises(InputError, match=r"mixture.extxyz: bead names \['A', 'C', 'B'\] differ"):
        list(replica_frames([runs / "dimers.extxyz", runs / "mixture.extxyz"]))


def test_charges_have_no_coulomb_term(tmp_path: Path) -> None:
    """They go through the data set; a fit refuses them unless they are to be ignored."""
    frames = three.make(0, 30, 40, 2)
    for frame in frames:
        frame.topology = replace(frame.topology, type_charges=(-1.0,))
    run = three.write_run(tmp_path / "b.extxyz", frames)
    data = build_dataset([run], tmp_path / "set", PLAN, quiet=True).folder
    found = next(read_frames(data / "train.extxyz.xz")).topology
    assert found.type_charges == (-1.0,)
    model = {"type": "mscg", "cutoff": 6.0, "spacing": 0.4}
    for more in ({}, {"model": {"cutoff": 6.0}}):
        path = settings(tmp_path, data, **({"model": model} | more))
        with pytest.raises(ConfigError, match=r"system.charges'.*B \(-1 e\).* Coulomb term is not"):
            train(load_config(path), tmp_path / "out", quiet=True, restart=True)
    system = {"temperature": 300.0, "charges": "ignore"}
    path = settings(tmp_path, data, model=model, system=system)
    outcome = train(load_config(path), tmp_path / "ignored", quiet=True)
    assert "there is no Coulomb term" in outcome.result["warnings"][0]
    assert no_coulomb(found).startswith("the bead types B (-1 e) carry charges")
