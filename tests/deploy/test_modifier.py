# SPDX-License-Identifier: GPL-2.0-or-later
"""NequIP's own ways to use the tables: its modifiers, `nequip-compile`, its ASE calculator."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_systems import CUTOFF, SMALL, build
from test_acceleration import labels, largest_error
from training_systems import NAME, fluid

from cgpot.deploy.deployment import Deployment

MODIFIERS = ("enable_cgpotTables", "enable_cgpotKernels")
EXECUTABLE = Path(sys.executable).with_name("nequip-compile")


@pytest.mark.parametrize("modifier", MODIFIERS)
@pytest.mark.parametrize("name", ["nequip", "schnet", "allegro"])
def test_modifiers_change_speed_and_nothing_else(name: str, modifier: str) -> None:
    from nequip.model.modify_utils import modify

    model = build({**SMALL[name], "dtype": "float32"}).eval()
    expected = labels(model)
    modified = modify(model, [{"modifier": modifier}])
    assert largest_error(labels(modified), expected) < 1e-5
    libraries = modified.metadata.get("nequip_custom_ops_libs")
    operators = modifier == "enable_cgpotKernels" and name != "allegro"
    assert libraries == ("cgpot.deploy.kernels" if operators else None)


def test_modifiers_say_what_they_are() -> None:
    from nequip.model.modify_utils import get_all_modifiers
    from nequip.nn import model_modifier_utils as utilities

    model = build(SMALL["schnet"])
    found = get_all_modifiers(model)
    assert set(MODIFIERS) <= set(found)
    for name, devices in zip(MODIFIERS, ([], ["cuda", "xpu"]), strict=True):
        assert not utilities.is_persistent_model_modifier(found[name])
        assert utilities.get_model_modifier_unsupported_devices(found[name]) == devices
        assert found[name].__doc__
    assert not set(MODIFIERS) & set(get_all_modifiers(model.model))  # of complete models alone


def test_a_model_without_tables_is_refused() -> None:
    from nequip.model.modify_utils import modify

    model = build(SMALL["nequip"], per_edge_type_cutoff={"A": 3.0, "B": CUTOFF}).eval()
    with pytest.raises(RuntimeError, match="no radial functions to tabulate: expected a NequIP"):
        modify(model, [{"modifier": MODIFIERS[0]}])


def test_kernels_need_the_built_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    from cgpot.core.errors import ToolError
    from cgpot.deploy import kernels

    monkeypatch.setattr(kernels, "built_operators", lambda: None)
    with pytest.raises(ToolError, match="not built; run 'cgpot plugin build' first"):
        kernels.load_library()


def from_calculator(calculator: Any) -> dict[str, np.ndarray]:
    from ase import Atoms

    frame = fluid(1, 11)[0]
    atoms = Atoms("H" * len(frame.positions), frame.positions, cell=frame.cell, pbc=True)
    atoms.calc = calculator
    return {
        "energy": np.array(atoms.get_potential_energy()),
        "forces": atoms.get_forces(),
        "stress": atoms.get_stress(),
    }


@pytest.mark.parametrize(
    "modifier", [pytest.param(MODIFIERS[0], marks=pytest.mark.slow), MODIFIERS[1]]
)
def test_nequip_compile(deployed: Deployment, tmp_path: Path, modifier: str) -> None:
    """Energy, forces and stress of NequIP's calculator: compiled against the archive's network."""
    from nequip.integrations.ase import NequIPCalculator

    package = deployed.sidecar.with_name("model.nequip.zip")
    compiled = tmp_path / "model.nequip.pt2"
    words = [str(EXECUTABLE), str(package), str(compiled), "--mode", "aotinductor"]
    words += ["--device", "cpu", "--target", "ase", "--modifiers", modifier]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Radial functions tabulated: largest relative error" in done.stderr + done.stdout
    entry = "nequip_custom_ops_libs.txt"
    with zipfile.ZipFile(compiled) as archive:
        names = archive.namelist()
        assert (entry in names) == (modifier == "enable_cgpotKernels")
        if entry in names:
            assert archive.read(entry) == b"cgpot.deploy.kernels"
    found = from_calculator(
        NequIPCalculator.from_compiled_model(
            compiled, chemical_species_to_atom_type_map={"H": NAME}
        )
    )
    expected = from_calculator(
        NequIPCalculator._from_saved_model(package, chemical_species_to_atom_type_map={"H": NAME})
    )
    assert largest_error(found, expected) < 1e-5
