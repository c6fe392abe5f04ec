# SPDX-License-Identifier: GPL-2.0-or-later
"""``cgpot md`` with an ensemble of Lennard-Jones models."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plugin_models import CONFIGURATIONS, MASSES, NAMES

from cgpot.core.errors import ConfigError, InputError, ManifestError, ToolError
from cgpot.core.files import sha256_file
from cgpot.core.manifest import check_manifest
from cgpot.md.compiled_models import model_file, model_files
from cgpot.md.deck import deck_path, fill_deck
from cgpot.md.md_settings import MdConfig, load_config
from cgpot.md.md_stage import run_md
from cgpot.molecules.extxyz import read_frames, write_frames
from cgpot.molecules.frame import CGFrame, Topology


@pytest.fixture
def start(tmp_path: Path) -> Path:
    c = CONFIGURATIONS["cubic"]
    topology = Topology(
        tuple(NAMES), tuple(MASSES), c.types.astype(np.int64), np.arange(len(c.types))
    )
    path = tmp_path / "start.extxyz"
    write_frames(path, [CGFrame(topology, c.positions % np.diag(c.cell), c.cell)])
    return path


@pytest.fixture
def ensemble(lj_members: list[Path], tmp_path: Path) -> Path:
    """A folder as `cgpot deploy` leaves it."""
    folder = tmp_path / "deploy"
    folder.mkdir()
    names = []
    for index, source in enumerate(lj_members):
        names.append(f"model.{index}.nequip.pt2")
        shutil.copy(source, folder / names[-1])
        sidecar = source.name.replace(".nequip.pt2", ".cgpot.json")
        shutil.copy(source.with_name(sidecar), folder / f"model.{index}.cgpot.json")
    record = {
        "format": "cgpot-model-ensemble-1",
        "members": names,
        "sha256": {name: sha256_file(folder / name) for name in names},
    }
    (folder / "model.ensemble.json").write_text(json.dumps(record))
    return folder


def settings(start: Path, model: Path, **changes: Any) -> MdConfig:
    values: dict[str, Any] = {
        "start": start, "model": model, "temperature": 60.0, "length_ps": 0.04,
        "timestep_fs": 1.0, "thermo_ps": 0.01, "dump_ps": 0.02, **changes,
    }  # fmt: skip
    return MdConfig(**values)


def table(folder: Path) -> dict[str, np.ndarray]:
    with open(folder / "thermo.csv", newline="") as stream:
        rows = list(csv.reader(stream))
    data = np.array(rows[1:], dtype=float)
    return {name: data[:, i] for i, name in enumerate(rows[0])}


@pytest.mark.parametrize("kind", ["nvt", "npt", "nve"])
def test_mean_with_spread(plugin: Path, start: Path, ensemble: Path, kind: Any) -> None:
    out = start.parent / "run"
    config = settings(start, ensemble, spread_every=10, spread_threshold=1e-6)
    assert run_md(kind, config, out, quiet=True)["complete"]
    data = table(out)
    np.testing.assert_array_equal(data["spread_step"], [0, 10, 20, 30, 40])
    assert np.all(data["force_spread_max_eV_A"] >= data["force_spread_rms_eV_A"])
    assert np.all(data["pressure_spread_bar"] > 0.0)
    assert np.all(data["energy_spread_eV"] > 0.0)
    frames = list(read_frames(out / "run.spread.extxyz"))
    assert [frame.source_frame for frame in frames] == [0, 10, 20, 30, 40]
    record = check_manifest(out / "md.json", stage="lammps")
    assert [item["file"] for item in record["inputs"]["model"]] == [
        f"model.{k}.nequip.pt2" for k in range(3)
    ]
    assert any(item["file"] == "run.spread.extxyz" for item in record["outputs"])
    # a further segment goes on, with the file that names the members instead of their folder
    longer = settings(
        start, ensemble / "model.ensemble.json", spread_every=10, spread_threshold=1e-6,
        length_ps=0.06,
    )  # fmt: skip
    assert run_md(kind, longer, out, quiet=True)["steps"] == 60
    run_md(kind, settings(start, ensemble), out, fresh=True, quiet=True)
    assert not (out / "run.spread.extxyz").exists()
    assert "spread_step" not in table(out)


def test_one_member(plugin: Path, start: Path, ensemble: Path) -> None:
    energies = []
    for name, member in ((ensemble, 2), (ensemble / "model.1.nequip.pt2", None), (ensemble, None)):
        out = start.parent / f"run{len(energies)}"
        run_md("nve", settings(start, name, member=member), out, quiet=True)
        energies.append(table(out)["pe_eV"])
    np.testing.assert_allclose(energies[0], energies[1], rtol=1e-9)
    assert np.abs(energies[2] - energies[1]).max() > 0.1


def test_stop(plugin: Path, start: Path, ensemble: Path) -> None:
    config = settings(start, ensemble, spread_every=10, spread_threshold=1e-6, spread_action="stop")
    with pytest.raises(ToolError, match=r"disagree on the force on atom \d+ \((AAA|BBB)\) at step"):
        run_md("nvt", config, start.parent / "run", quiet=True)


def test_a_run_from_before_the_settings_existed_goes_on(
    plugin: Path, start: Path, ensemble: Path
) -> None:
    out = start.parent / "run"
    run_md("nvt", settings(start, ensemble / "model.0.nequip.pt2"), out, quiet=True)
    record = json.loads((out / "settings.json").read_text())
    for key in ("member", "spread_every", "spread_threshold", "spread_action"):
        del record[key]
    (out / "settings.json").write_text(json.dumps(record))
    longer = settings(start, ensemble / "model.0.nequip.pt2", length_ps=0.06)
    assert run_md("nvt", longer, out, quiet=True)["steps"] == 60


def test_settings_that_do_not_fit(start: Path, ensemble: Path, tmp_path: Path) -> None:
    one = ensemble / "model.0.nequip.pt2"
    with pytest.raises(ConfigError, match="key 'spread_every': needs an ensemble of models, found"):
        run_md("nvt", settings(start, one, spread_every=10), tmp_path / "run")
    with pytest.raises(ConfigError, match="key 'member': needs an ensemble of models"):
        run_md("nvt", settings(start, one, member=1), tmp_path / "run")
    with pytest.raises(ConfigError, match="key 'member': the ensemble has 3 members, found 4"):
        run_md("nvt", settings(start, ensemble, member=4), tmp_path / "run")
    options = {"start": start, "model": ensemble}
    with pytest.raises(ConfigError, match="'spread_threshold' needs 'spread_every'"):
        load_config(None, {**options, "spread_threshold": 0.3})
    with pytest.raises(ConfigError, match="'dump', 'warn' or 'stop'"):
        load_config(None, {**options, "spread_every": 1, "spread_action": "halt"})
    with pytest.raises(ConfigError, match="need an ensemble under 'model'"):
        load_config(None, {"start": start, "pair_file": start, "spread_every": 10})


def test_files_of_an_ensemble(ensemble: Path, tmp_path: Path) -> None:
    assert model_file(ensemble) == ensemble / "model.ensemble.json"
    assert len(model_files(ensemble)) == 3
    (ensemble / "other.ensemble.json").write_text("{}")
    with pytest.raises(InputError, match=r"holds model.ensemble.json, other.ensemble.json; name o"):
        model_files(ensemble)
    with pytest.raises(InputError, match="expected format 'cgpot-model-ensemble-1', found None"):
        model_files(ensemble / "other.ensemble.json")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match=r"neither a \*.ensemble.json nor a \*.nequip.pt2; run 'c"):
        model_files(empty)
    record = json.loads((ensemble / "model.ensemble.json").read_text())
    wrong = {**record, "members": record["members"][:1]}
    (ensemble / "other.ensemble.json").write_text(json.dumps(wrong))
    with pytest.raises(InputError, match="key 'members': expected a list of at least two members"):
        model_files(ensemble / "other.ensemble.json")
    (ensemble / "model.1.nequip.pt2").write_bytes(b"other")
    with pytest.raises(ManifestError, match=r"changed since model.ensemble.json was written"):
        model_files(ensemble / "model.ensemble.json")
    (ensemble / "model.1.nequip.pt2").unlink()
    with pytest.raises(InputError, match="no such member of the ensemble"):
        model_files(ensemble / "model.ensemble.json")


def test_paths_in_a_deck() -> None:
    values = {"data": "s.data", "beads": "A", "model": ("a.nequip.pt2", "b.nequip.pt2")}
    text = fill_deck(deck_path("cg_nvt"), values)
    assert 'variable        model index "a.nequip.pt2 b.nequip.pt2"' in text
    with pytest.raises(ConfigError, match=r"the path 'b c.nequip.pt2' holds a space"):
        fill_deck(deck_path("cg_nvt"), {**values, "model": ("a.nequip.pt2", "b c.nequip.pt2")})
