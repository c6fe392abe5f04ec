# SPDX-License-Identifier: GPL-2.0-or-later
"""Archive, compiled model and sidecar of a small model; what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_systems import NAME, fluid

from cgpot.core.errors import ConfigError, DataError, InputError, ManifestError, ToolError
from cgpot.core.files import sha256_file, write_json
from cgpot.core.manifest import check_manifest
from cgpot.core.versions import RESULT_FORMAT
from cgpot.deploy.deployment import Deployment, deploy, training_result
from cgpot.deploy.package import build_package, compile_package, stand_alone
from cgpot.deploy.verify import CompiledModel, compare, compiled_limit, verify
from cgpot.potential.potential import Labels

STEM = "model"
FACTS = {
    "format": RESULT_FORMAT, "bead_names": ["A"], "masses": [1.0], "cutoff": 5.0,
    "temperature": 300.0,
}  # fmt: skip


def test_sidecar_says_what_the_plugin_reads(training: Path, deployed: Deployment) -> None:
    content = json.loads(deployed.sidecar.read_text(encoding="utf-8"))
    folder = deployed.sidecar.parent
    assert content["format"] == "cgpot-model-1"
    assert content["units"] == {"energy": "eV", "length": "angstrom"}
    assert content["bead_names"] == [NAME]
    assert content["masses"] == [40.0]
    assert content["cutoff"] == 5.0
    assert content["pairs"] == "all"
    assert content["temperature"] == 5.0
    assert content["dtype"] == "float64"
    assert content["device"] == "cpu"
    assert content["torch_version"] == torch.__version__.split("+")[0]
    mass, volume = 64 * 40.0, np.mean([f.volume for f in fluid(10, 1)])
    assert content["density_kg_m3"] == pytest.approx(mass / volume * 1660.539, rel=0.01)
    for name in (f"{STEM}.nequip.pt2", f"{STEM}.nequip.zip"):
        assert content["sha256"][name] == sha256_file(folder / name)
    assert content["sha256"]["model.ckpt"] == sha256_file(training / "model.ckpt")
    for form in ("package", "compiled"):
        assert all(value <= 1e-9 for value in content["verification"][form].values())
    check_manifest(deployed.sidecar, stage="deploy")


def test_compiled_model_against_the_derivative_of_its_own_energy(deployed: Deployment) -> None:
    """Forces and virial of the .pt2 by central differences: 1e-6 of the largest value."""
    model = CompiledModel(deployed.sidecar.parent / f"{STEM}.nequip.pt2")
    frame = fluid(1, 11)[0]
    labels = model.labels(frame)
    step = 1e-4
    for site, axis in ((3, 0), (30, 2)):
        energies = []
        for sign in (1, -1):
            moved = fluid(1, 11)[0]
            moved.positions[site, axis] += sign * step
            energies.append(model.labels(moved).energy)
        slope = -(energies[0] - energies[1]) / (2 * step)
        largest = np.abs(labels.forces).max()
        assert labels.forces[site, axis] == pytest.approx(slope, abs=1e-6 * largest)
    energies = []
    for sign in (1, -1):
        strained = fluid(1, 11)[0]
        strained.positions *= 1 + sign * 1e-5
        strained.cell = strained.cell * (1 + sign * 1e-5)
        energies.append(model.labels(strained).energy)
    work = -(energies[0] - energies[1]) / 2e-5
    assert np.trace(labels.virial) == pytest.approx(work, rel=1e-6)


def test_a_checkpoint_of_another_nequip_is_refused(
    training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cgpot.core import versions

    installed = {"nequip": "0.99.0", "torch": torch.__version__}
    monkeypatch.setattr(versions, "package_versions", lambda wanted: installed)
    with pytest.raises(InputError, match=r"model\.ckpt: made with nequip .*installed is 0\.99\.0"):
        deploy(training, tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


def test_up_to_date_files_are_left_alone(training: Path, deployed: Deployment) -> None:
    path = deployed.sidecar.parent / f"{STEM}.nequip.pt2"
    before = path.stat().st_mtime_ns
    again = deploy(training, deployed.sidecar.parent, quiet=True)
    assert again.skipped
    assert path.stat().st_mtime_ns == before


def test_the_archive_needs_neither_this_project_nor_the_training(
    deployed: Deployment, tmp_path: Path
) -> None:
    """Loaded where `cgpot` cannot be imported, it gives the same energy."""
    shutil.copy(deployed.sidecar.parent / f"{STEM}.nequip.zip", tmp_path / "a.nequip.zip")
    frame = fluid(1, 11)[0]
    np.savez(tmp_path / "frame.npz", pos=frame.positions, cell=frame.cell)
    script = """
import sys
import numpy as np
import torch
class Block:
    def find_spec(self, name, path=None, target=None):
        if name == "cgpot" or name.startswith("cgpot."):
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Block())
import importlib.metadata as metadata
every = metadata.entry_points
metadata.entry_points = lambda **k: (
    [e for e in every(**k) if "cgpot" not in e.value] if k else every()
)
from nequip.data import compute_neighborlist_, from_dict
from nequip.model.saved_models.load_utils import load_saved_model
from nequip.utils.global_state import set_global_state
set_global_state()
model = load_saved_model(sys.argv[1])
frame = np.load(sys.argv[2])
n = len(frame["pos"])
data = from_dict({
    "pos": torch.tensor(frame["pos"]), "cell": torch.tensor(frame["cell"])[None],
    "pbc": torch.ones(1, 3, dtype=torch.bool), "atom_types": torch.zeros(n, dtype=torch.int64),
})
print("energy", repr(float(model(compute_neighborlist_(data, 5.0))["total_energy"].detach())))
"""
    words = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(
        [*words, str(tmp_path / "a.nequip.zip"), str(tmp_path / "frame.npz")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    energy = float(done.stdout.rsplit("energy", 1)[1])
    compiled = CompiledModel(deployed.sidecar.parent / f"{STEM}.nequip.pt2")
    assert energy == pytest.approx(compiled.labels(frame).energy, rel=1e-9)


def test_a_model_that_differs_from_the_checkpoint_is_refused(
    training: Path, deployed: Deployment, tmp_path: Path
) -> None:
    record = torch.load(training / "model.ckpt", weights_only=False)
    keys = [k for k in record["state_dict"] if k.endswith("pair_potential.coefficients")]
    record["state_dict"][keys[0]][0, 5] *= 1.001
    torch.save(record, tmp_path / "other.ckpt")
    folder = deployed.sidecar.parent
    with pytest.raises(DataError, match=r"differs from the checkpoint: relative error .*1e-09"):
        verify(
            tmp_path / "other.ckpt",
            folder / f"{STEM}.nequip.zip",
            folder / f"{STEM}.nequip.pt2",
            training / "example.extxyz",
        )


def test_a_damaged_compiled_model_is_refused(
    training: Path, deployed: Deployment, tmp_path: Path
) -> None:
    path = tmp_path / "model.nequip.pt2"
    whole = (deployed.sidecar.parent / f"{STEM}.nequip.pt2").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ToolError, match=r"model\.nequip\.pt2: torch cannot load it"):
        CompiledModel(path)


def test_unknown_pairs_are_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "result.json", {**FACTS, "pairs": "bonded"})
    with pytest.raises(InputError, match=r"key 'pairs': expected one of all, .*, found 'bonded'"):
        training_result(tmp_path)


def test_a_changed_checkpoint_is_refused(training: Path, tmp_path: Path) -> None:
    copy = tmp_path / "train"
    shutil.copytree(training, copy)
    for name in training.parent.glob("*.manifest.json"):
        shutil.copy(name, tmp_path)
    training_result(copy)
    with open(copy / "model.ckpt", "ab") as stream:
        stream.write(b"x")
    with pytest.raises(ManifestError, match=r"model\.ckpt: changed since it was written"):
        deploy(copy, tmp_path / "deploy", quiet=True)
    assert not (tmp_path / "deploy").exists()


def test_unfinished_and_missing_trainings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected the output folder of 'cgpot train'"):
        deploy(tmp_path / "nowhere", tmp_path / "deploy", quiet=True)
    with pytest.raises(InputError, match="the training has not finished"):
        deploy(tmp_path, tmp_path / "deploy", quiet=True)
    (tmp_path / "result.json").write_text('{"format": "other"}', encoding="utf-8")
    with pytest.raises(InputError, match="key 'format': expected format 'cgpot-training-1'"):
        deploy(tmp_path, tmp_path / "deploy", quiet=True)
    with pytest.raises(ToolError, match="unknown device 'tpu'; expected 'cpu' or 'cuda'"):
        deploy(tmp_path, tmp_path / "deploy", device="tpu", quiet=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_a_device_is_refused(deployed: Deployment, tmp_path: Path) -> None:
    package = deployed.sidecar.parent / f"{STEM}.nequip.zip"
    with pytest.raises(ToolError, match="'cuda' was asked for, but torch sees none"):
        compile_package(package, tmp_path / "a.nequip.pt2", "cuda")


def test_a_foreign_checkpoint_is_refused(training: Path, tmp_path: Path) -> None:
    torch.save({"hyper_parameters": {}}, tmp_path / "a.ckpt")
    with pytest.raises(InputError, match="not a checkpoint of 'cgpot train'"):
        stand_alone(tmp_path / "a.ckpt", training / "example.extxyz", tmp_path / "b.ckpt")
    assert not (tmp_path / "b.ckpt").exists()


def test_failures_of_the_packager_are_told(training: Path, tmp_path: Path) -> None:
    record = torch.load(training / "model.ckpt", weights_only=False)
    record["hyper_parameters"]["info_dict"].pop("versions")
    torch.save(record, tmp_path / "a.ckpt")
    with pytest.raises(ToolError, match=r"nequip\.scripts\.package.*ended with status 1"):
        build_package(tmp_path / "a.ckpt", training / "example.extxyz", tmp_path / "a.nequip.zip")
    assert not (tmp_path / "a.nequip.zip").exists()


def test_compare_takes_the_largest_value_as_scale() -> None:
    nothing, unit = np.zeros((1, 3)), np.eye(3)
    a = [Labels(np.array([[1.0, 0, 0]]), unit, 2.0), Labels(nothing, unit, -4.0)]
    b = [Labels(np.array([[1.0, 0, 1e-3]]), unit, 2.0), Labels(nothing, unit, -4.4)]
    errors = compare(a, b)
    assert errors == pytest.approx({"energy": 0.1, "forces": 1e-3, "virial": 0.0})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tables": "magic"}, "unknown tables 'magic'; expected 'auto', 'kernels'"),
        ({"tables": "kernels", "device": "cuda"}, "the kernels are for CPUs.*'cuda'"),
        ({"tables": "triton"}, "Triton is for GPUs, the device is 'cpu'; expected 'auto'"),
        ({"tf32": True}, "TF32 is of CUDA devices, the device is 'cpu'; leave --tf32 out"),
        ({"tf32": True, "device": "cuda"}, "TF32 is for float32, the model is in float64"),
        ({"precision": "bfloat16"}, "found 'bfloat16', .*trained in 'float64'"),
        ({"precision": "float32"}, "found 'float32', .*expected 'float64'"),
    ],
)
def test_options_that_a_model_does_not_have_are_refused(
    training: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        deploy(training, tmp_path / "out", quiet=True, **options)
    assert not (tmp_path / "out").exists()


def test_without_the_plugin_tables_are_plain_torch(
    training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cgpot.deploy import deployment as run
    from cgpot.deploy import package

    assert (package.choose("cpu"), package.choose("cuda")) == ("kernels", "torch")
    for module in (package, run):
        monkeypatch.setattr(module, "built_operators", lambda: None)
    assert package.choose("cpu") == "torch"
    with pytest.raises(ToolError, match="part of the plugin; run 'cgpot plugin build' first"):
        deploy(training, tmp_path / "out", tables="kernels", quiet=True)


def test_without_triton(training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cgpot.deploy import deployment as run
    from cgpot.deploy import package

    for installed, ways in ((False, ("torch",)), (True, ("torch", "triton"))):
        monkeypatch.setattr(package, "has_triton", lambda found=installed: found)
        assert package.candidates("cuda") == ways
        assert package.candidates("cpu") == ("kernels",)
    monkeypatch.setattr(run, "has_triton", lambda: False)
    with pytest.raises(ToolError, match=r"Triton is not installed .*; use 'torch' tables"):
        deploy(training, tmp_path / "out", device="cuda", tables="triton", quiet=True)
    assert not (tmp_path / "out").exists()


def test_the_fastest_way_is_taken(
    training: Path, deployed: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those that give a model; one that this device does not have is tried as well."""
    from cgpot.deploy import deployment as run
    from cgpot.deploy import fastest

    ways = ("torch", "triton", "kernels")
    compile_package = fastest.compile_package

    def copy(package: Path, output: Path, device: str, **options: Any) -> None:
        if options["tables"] == "triton":
            compile_package(package, output, device, **options)
        shutil.copy(deployed.sidecar.with_name(f"{STEM}.nequip.pt2"), output)

    monkeypatch.setattr(fastest, "compile_package", copy)
    monkeypatch.setattr(run, "candidates", lambda device: ways)
    monkeypatch.setattr(fastest, "BEADS", 40)
    done = deploy(training, tmp_path / "out", quiet=True)
    times = done.content["tables_ms"]
    assert set(times) == set(ways)
    assert "Triton is for GPUs, the device is 'cpu'" in times["triton"]
    assert done.content["tables"] == min(("torch", "kernels"), key=lambda way: times[way])
    assert done.content["tables_beads"] >= 40
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"{STEM}.{end}"
        for end in ("nequip.zip", "nequip.pt2", "cgpot.json", "cgpot.json.manifest.json")
    }
    assert deploy(training, tmp_path / "out", quiet=True).skipped
    monkeypatch.setattr(run, "candidates", lambda device: ("triton",))
    with pytest.raises(ToolError, match="Triton is for GPUs, the device is 'cpu'"):
        fastest.compile_fastest(
            tmp_path / "out" / f"{STEM}.nequip.zip",
            tmp_path / "none.nequip.pt2",
            "cpu",
            ("triton",),
            lambda file: {},
            training / "example.extxyz",
        )
    assert not (tmp_path / "none.nequip.pt2").exists()


def test_limits_of_a_compiled_model() -> None:
    assert compiled_limit(1e-4, None, False) == 1e-4
    assert compiled_limit(1e-9, {"slope_error": 1e-9}, False) == pytest.approx(2e-8)
    assert compiled_limit(1e-4, {"slope_error": 1e-9}, True) == 1e-2


@pytest.mark.slow
def test_tables_in_plain_torch(training: Path, deployed: Deployment, tmp_path: Path) -> None:
    """The way of GPUs, on a CPU: compiled, verified, described; no operator of this package."""
    other = deploy(training, tmp_path / "torch", tables="torch", quiet=True)
    assert other.content["tables"] == "torch"
    assert not other.content["tf32"]
    record = other.content["verification"]
    assert record["tables"]["way"] == "torch"
    assert deployed.content["verification"]["tables"]["way"] == "kernels"
    assert all(value <= 1e-9 for value in record["compiled"].values())
    frame = fluid(1, 11)[0]
    first, second = (
        CompiledModel(done.sidecar.with_name(f"{STEM}.nequip.pt2")).labels(frame)
        for done in (deployed, other)
    )
    assert max(compare([first], [second]).values()) < 1e-9
    assert deploy(training, tmp_path / "torch", tables="torch", quiet=True).skipped
