# SPDX-License-Identifier: GPL-2.0-or-later
"""``cgpot select``: uncertain configurations, atomistic runs that hold them, mean forces."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from benzene_box import build, write_aa_data
from typer.testing import CliRunner

from cgpot.core.errors import ConfigError, DataError, InputError
from cgpot.core.manifest import check_manifest
from cgpot.core.units import KCAL_MOL
from cgpot.formats.lammps.cg_data import write_data
from cgpot.md.engine import find_lammps
from cgpot.molecules.extxyz import read_frames, write_frames
from cgpot.molecules.frame import CGFrame, Topology
from cgpot.select.active import candidates, select, spreads, thin
from cgpot.select.atomistic_runs import AtomisticRuns
from cgpot.select.averaging import average, mean_frame, settled

N, SPACING = 3, 5.4


def fluid(seed: int, step: int = 0, mass: float = 78.114) -> CGFrame:
    """27 sites near a simple cubic lattice, liquid density of benzene."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(N)] * 3, indexing="ij"), -1).reshape(-1, 3)
    topology = Topology(("BNZ",), (mass,), np.zeros(N**3, np.int64), np.arange(N**3))
    positions = (grid + 0.5) * SPACING + rng.normal(0.0, 0.3, (N**3, 3))
    return CGFrame(
        topology, positions, np.eye(3) * N * SPACING, time=0.001 * step, source_frame=step
    )


def dumped(path: Path, frames: list[CGFrame], values: list[float]) -> Path:
    """A file as `action dump` of pair_style cgpot leaves it."""
    text = ""
    for frame, value in zip(frames, values, strict=True):
        write_frames(path.with_name("one.extxyz"), [frame])
        lines = path.with_name("one.extxyz").read_text().splitlines(keepends=True)
        lines[1] = lines[1].rstrip() + f" force_spread_max={value}\n"
        text += "".join(lines)
    path.write_text(text)
    return path


def command(*arguments: object) -> Any:
    from cgpot.cli import select as select_command

    app = typer.Typer(pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    select_command.register(app)
    return CliRunner().invoke(app, ["select", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with ten uncertain configurations; a restart repeated one of them."""
    folder = tmp_path / "nvt"
    folder.mkdir()
    frames = [fluid(k, 10 * k) for k in range(10)]
    values = [0.3, 0.9, 0.4, 0.5, 0.6, 0.3, 0.35, 0.8, 0.3, 0.31]
    dumped(folder / "run.spread.extxyz", [*frames, fluid(99, 40)], [*values, 0.32])
    (folder / "md.json").write_text(json.dumps({"temperature_K": 310.0}))
    return folder


def test_candidates_and_thinning(run: Path) -> None:
    found = candidates(run)
    assert [c.frame.source_frame for c in found] == [10 * k for k in range(10)]
    assert found[4].spread == 0.32
    assert spreads(run / "run.spread.extxyz")[:2] == [0.3, 0.9]
    assert [c.frame.source_frame for c in thin(found, 3)] == [10, 60, 70]
    assert [c.frame.source_frame for c in thin(found, 1)] == [10]
    assert len(thin(found, 50)) == 10
    with pytest.raises(ConfigError, match="0 frames asked for; expected at least 1"):
        thin(found, 0)


def lammps(folder: Path, **variables: object) -> None:
    program = find_lammps()
    arguments = ["-in", "in.deck", "-log", "run.0.log"]
    for name, value in variables.items():
        arguments += ["-var", name, str(value)]
    done = subprocess.run(
        [*program.command, *arguments], cwd=folder, env=dict(program.environment),
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]


def mapped(folder: Path, root: Path) -> Path:
    from cgpot.cli import map as map_command

    app = typer.Typer(pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    map_command.register(app)
    mapping = root / "workflows" / "systems" / "benzene" / "mapping.yaml"
    arguments = ["map", mapping, "--topology", folder / "system.data", "--trajectory"]
    arguments += [folder / "run.0.dump", "--energy", folder / "run.0.log", "--no-report", "-q"]
    arguments += ["--position-decimals", 6, "--output", folder / "held.extxyz"]
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return folder / "held.extxyz"


def files(folder: Path, root: Path) -> dict[str, Path]:
    """Structure (27 benzenes), mapping and force field of the atomistic runs."""
    system = root / "workflows" / "systems" / "benzene"
    write_aa_data(folder / "benzene.data", build(N**3, 850.0))
    text = (system / "lammps" / "force_field.lmp").read_text()
    # half of the edge bounds the cutoff
    (folder / "ff.lmp").write_text(text.replace("cutoff index 12.0", "cutoff index 7.29"))
    return {
        "structure": folder / "benzene.data",
        "mapping": system / "mapping.yaml",
        "force_field": folder / "ff.lmp",
    }


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory, root: Path) -> tuple[CGFrame, Path]:
    """A selected configuration, run in LAMMPS for 1 ps by its deck, and mapped."""
    folder = tmp_path_factory.mktemp("held")
    frame = fluid(5, 700)
    source = dumped(folder / "far.extxyz", [frame], [0.4])
    result = command(
        source, "-o", folder / "out", "-T", 300, "--length-ps", 1, "--equilibrate-ps", 0.4,
        "--anneal", 1, *(word for name, file in files(folder, root).items()
                         for word in (f"--{name.replace('_', '-')}", file)),
    )  # fmt: skip
    assert result.exit_code == 0
    assert "1 of 1 configurations, force spread 0.4 to 0.4 eV/Å" in result.stdout
    where = folder / "out" / "frame.0"
    assert "variable        steps index 1000" in (where / "in.deck").read_text()
    lammps(where, sample_every=20, skin=1.0, minimize_steps=200)
    return frame, mapped(where, root)


def test_the_deck_holds_the_sites_and_map_reads_it(held: tuple[CGFrame, Path]) -> None:
    frame, path = held
    frames = list(read_frames(path))
    assert len(frames) == 51
    moved = np.stack([f.positions for f in frames]) - frame.positions
    moved -= np.round(moved / frame.cell[0, 0]) * frame.cell[0, 0]
    distance = np.linalg.norm(moved, axis=-1)
    assert distance.max() < 0.02
    # no drift: the last quarter is as far from the sites as the first
    assert distance[-12:].mean() < 1.5 * distance[:12].mean()


def test_the_dumped_forces_are_those_of_the_molecules(held: tuple[CGFrame, Path]) -> None:
    """Tether and bath are left out: the net force vanishes, and the tether balances the mean."""
    frame, path = held
    frames = list(read_frames(path))
    forces = np.stack([f.forces for f in frames if f.forces is not None])
    assert np.abs(forces.sum(axis=1)).max() < 1e-2
    moved = np.stack([f.positions for f in frames]) - frame.positions
    moved -= np.round(moved / frame.cell[0, 0]) * frame.cell[0, 0]
    # spring constant of the deck, kcal/mol/Å^2: on average F = K (R - R0)
    balance = 5000.0 * KCAL_MOL * moved.mean(axis=0)
    mean = forces.mean(axis=0)
    assert np.corrcoef(balance.ravel(), mean.ravel())[0, 1] > 0.9
    slope = float((balance * mean).sum() / (mean**2).sum())
    assert 0.8 < slope < 1.2


def test_internal_modes_have_the_temperature(held: tuple[CGFrame, Path]) -> None:
    from cgpot.formats.lammps.log import read_log

    table = read_log(held[1].parent / "run.0.log")[-1]
    assert 250.0 < table["Temp"].mean() < 350.0
    assert "Press" not in table.columns


def test_mean_labels(held: tuple[CGFrame, Path], tmp_path: Path) -> None:
    _, path = held
    result = command("--average", path, "-o", tmp_path / "labelled.extxyz")
    assert "1 frames with mean labels" in result.stdout
    (label,) = read_frames(tmp_path / "labelled.extxyz")
    (fact,) = check_manifest(tmp_path / "labelled.extxyz", stage="selection")["runs"]
    assert f"{fact['left_out']} of 51 frames left out at the start" in result.stdout
    frames = list(read_frames(path))[fact["left_out"] :]
    assert label.forces is not None
    assert label.virial is not None
    forces = np.stack([f.forces for f in frames if f.forces is not None])
    np.testing.assert_allclose(label.forces, forces.mean(axis=0), atol=1e-5)
    virials = np.stack([f.virial for f in frames if f.virial is not None])
    np.testing.assert_allclose(label.virial, virials.mean(axis=0), atol=1e-6)
    assert label.weight == pytest.approx(fact["samples"])
    assert 1.0 <= label.weight <= len(frames)


def test_frames_before_equilibrium_are_left_out(tmp_path: Path) -> None:
    """A decaying start is found, and correlated frames count as fewer samples."""
    rng = np.random.default_rng(4)
    trace = rng.normal(size=200)
    trace[:40] += 12.0 * np.exp(-np.arange(40) / 12.0)
    frames = [
        replace(fluid(3), forces=rng.normal(size=(27, 3)), virial=np.eye(3) * w / 3.0)
        for w in trace
    ]
    fact = settled(frames, "a/held.extxyz")
    assert 15 <= fact.left_out <= 60
    assert 0.5 * (200 - fact.left_out) < fact.samples <= 200 - fact.left_out
    assert not fact.too_short
    slow = [frames[50 + k // 10] for k in range(150)]
    assert settled(slow, "b").samples < 40
    short = settled(frames[:4], "c")
    assert (short.left_out, short.samples) == (0, 4.0)
    bare = [replace(f, virial=None) for f in frames]
    assert settled(bare, "d").left_out < 60
    assert settled(frames[:45], "e").too_short


def test_mean_labels_of_a_short_run(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    frames = [replace(fluid(3), forces=rng.normal(size=(27, 3))) for _ in range(5)]
    write_frames(tmp_path / "held.extxyz", frames)
    average([tmp_path / "held.extxyz"], tmp_path / "labelled.extxyz")
    (label,) = read_frames(tmp_path / "labelled.extxyz")
    assert label.weight == 5.0
    assert label.virial is None
    assert check_manifest(tmp_path / "labelled.extxyz", stage="selection")


def test_selection_of_a_run(run: Path, tmp_path: Path, root: Path) -> None:
    atomistic = AtomisticRuns(**files(tmp_path, root))
    record = select([run], tmp_path / "out", count=2, atomistic=atomistic)
    assert [f["step"] for f in record["frames"]] == [10, 70]
    assert [f["force_spread_max"] for f in record["frames"]] == [0.9, 0.8]
    assert record["temperature_K"] == 310.0
    assert f"cgpot map {atomistic.mapping} --topology system.data" in record["commands"][1]
    assert [f.source_frame for f in read_frames(tmp_path / "out" / "selected.extxyz")] == [10, 70]
    assert "temperature index 310.0" in (tmp_path / "out" / "frame.1" / "in.deck").read_text()
    manifest = check_manifest(tmp_path / "out" / "selection.json", stage="selection")
    assert len(manifest["outputs"]) == 2 + 2 * 4
    bare = select([run], tmp_path / "bare", count=3)
    assert bare["commands"] == []
    assert not (tmp_path / "bare" / "frame.0").exists()


def test_errors_of_selecting(run: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match=r"no run.spread.extxyz: no configuration was above the"):
        candidates(empty)
    plain = tmp_path / "plain.extxyz"
    write_frames(plain, [fluid(1)])
    with pytest.raises(InputError, match="key 'force_spread_max', frame 0: the frame does not say"):
        spreads(plain)
    write_data(tmp_path / "x.data", fluid(1))
    with pytest.raises(InputError, match="frame 0: expected a number of beads"):
        spreads(tmp_path / "x.data")
    with pytest.raises(InputError, match="no runs given"):
        select([], tmp_path / "out")
    other = dumped(tmp_path / "far.extxyz", [fluid(1, mass=100.0)], [0.5])
    with pytest.raises(InputError, match=r"far.extxyz, frame 0: another system than in"):
        select([run, other], tmp_path / "out")
    with pytest.raises(ConfigError, match=r"--structure and --mapping and --force-field; --no-ato"):
        select([other], tmp_path / "out", temperature=300.0, atomistic=AtomisticRuns())
    with pytest.raises(ConfigError, match="give the temperature of the atomistic runs in K"):
        select([other], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_errors_of_averaging(tmp_path: Path) -> None:
    frame = replace(fluid(3), forces=np.zeros((27, 3)))
    with pytest.raises(InputError, match="no frames to average"):
        mean_frame([])
    with pytest.raises(DataError, match="frame 1: the frame has no forces"):
        mean_frame([frame, fluid(3)])
    moved = frame.positions.copy()
    moved[4, 0] += 0.2
    with pytest.raises(DataError, match=r"h.extxyz, frame 1: a site moved by 0.200 Å; expected"):
        mean_frame([frame, replace(frame, positions=moved)], "h.extxyz")
    with pytest.raises(InputError, match="no data sets given"):
        average([], tmp_path / "x.extxyz")
