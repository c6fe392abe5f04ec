# SPDX-License-Identifier: GPL-2.0-or-later
"""The deployment stage: archive, compile, verify, describe."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cgpot.core.checkpoints import save_at_temperature
from cgpot.core.errors import ConfigError, InputError, ManifestError, ToolError
from cgpot.core.files import read_json, require_file, sha256_file
from cgpot.core.manifest import check_manifest, manifest_path, package_versions, write_manifest
from cgpot.core.native import built_operators
from cgpot.core.progress import progress
from cgpot.core.records import ModelRecord, TrainingRecord
from cgpot.core.versions import check_checkpoint
from cgpot.deploy.fastest import compile_fastest
from cgpot.deploy.package import build_package, candidates, compile_package, has_triton
from cgpot.deploy.tables import deploy_bonded, deploy_tables
from cgpot.deploy.verify import verify
from cgpot.molecules.exclusions import SEEN_PAIRS
from cgpot.molecules.extxyz import read_frames
from cgpot.molecules.single_sites import require_single_sites
from cgpot.potential.refined import refined_model

STAGE = "deploy"


@dataclass
class Deployment:
    """What a call did.

    Attributes:
        sidecar: path of model.cgpot.json.
        content: what stands in it.
        skipped: everything was up to date.
    """

    sidecar: Path
    content: dict[str, Any] = field(default_factory=dict)
    skipped: bool = False


def deploy(
    training: str | Path,
    output: str | Path,
    *,
    device: str = "cpu",
    name: str = "model",
    temperature: float | None = None,
    fast: bool = True,
    tables: str = "auto",
    tf32: bool = False,
    precision: str | None = None,
    quiet: bool = False,
) -> Deployment:
    """Make `<name>.nequip.zip`, `<name>.nequip.pt2` and `<name>.cgpot.json`.

    Args:
        training: output folder of `cgpot train`, or of `cgpot refine`.
        output: folder for the files.
        device: ``cpu`` or ``cuda``; the compiled file runs there only.
        name: stem of the files.
        temperature: K; of a model whose energy depends on it, the constant that is stored in
            the files; for other models it must be that of the training.
        fast: tabulated radial functions, and messages summed by operators of this package or in
            plain torch; False compiles the network as it is.
        tables: ``kernels`` (CPU), ``triton`` (GPU) or ``torch`` (any device); ``auto`` chooses by
            the device, on a GPU what is faster there (the sidecar has the times).
        tf32: products of float32 matrices with 10 bits of mantissa (``cuda``).
        precision: that of the training, ``float32`` or ``float64``; others are refused.
        quiet: no progress bar.

    Raises:
        InputError: not a finished training folder, a temperature missing or not to be had, or a
            network of molecules of several sites.
        ConfigError: options that this device or this model does not have.
        ManifestError: the training's files were changed.
        ToolError: packaging or compiling failed, or there is no such device.
        DataError: the compiled model differs from the checkpoint.
    """
    if device not in ("cpu", "cuda"):
        raise ToolError(f"unknown device {device!r}; expected 'cpu' or 'cuda'")
    source = refined_model(Path(training).resolve())
    result = training_result(source)
    temperature = _temperature(result, temperature, source)
    if result.kind in ("uf3", "mscg", "pair"):
        return Deployment(*deploy_tables(source, result, output, name))
    check_options(device, tables, tf32, precision, str(result.dtype))
    ways = (tables,) if tables != "auto" else candidates(device)
    if not fast:
        ways = ("none",)
    options: dict[str, Any] = {"fast": fast, "tf32": tf32}
    checkpoint = require_file(source / "model.ckpt", "checkpoint")
    example = require_file(source / "example.extxyz", "example frame")
    folder = Path(output).resolve()
    package = folder / f"{name}.nequip.zip"
    compiled = folder / f"{name}.nequip.pt2"
    sidecar = folder / f"{name}.cgpot.json"
    pairs = result.pairs
    if result.lammps is None:
        for frame in read_frames(example, several=True):
            require_single_sites(
                frame.topology, "deploying a network without bonded part", file=example
            )
    digest = sha256_file(checkpoint)
    thermal = result.temperature_input is not None
    check_checkpoint(checkpoint)
    if _current(sidecar, digest, device, options, ways, temperature if thermal else None):
        return Deployment(sidecar, read_json(sidecar), skipped=True)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (manifest_path(sidecar), sidecar):
        stale.unlink(missing_ok=True)
    with (
        progress("deploy", 3, quiet=quiet) as advance,
        tempfile.TemporaryDirectory(prefix="cgpot-") as scratch,
    ):
        model = checkpoint
        if thermal:
            model = save_at_temperature(checkpoint, Path(scratch) / "model.ckpt", temperature)
        build_package(model, example, package)
        advance(1)
        options["tables"] = ways[0]
        if len(ways) > 1:
            choice = compile_fastest(
                package,
                compiled,
                device,
                ways,
                lambda file: verify(model, package, file, example, device, pairs),
                example,
                tf32=tf32,
            )
            record = choice.record
            options |= {
                "tables": choice.tables,
                "tables_ms": choice.times,
                "tables_beads": choice.beads,
            }
            advance(1)
        else:
            compile_package(package, compiled, device, fast=fast, tables=ways[0], tf32=tf32)
            advance(1)
            record = verify(model, package, compiled, example, device, pairs)
        advance(1)
    content = _sidecar(result, temperature, digest, package, compiled, device, record)
    content |= options
    bonded_files, told = deploy_bonded(source, result, folder, name)
    content |= told
    ModelRecord.write(sidecar, content)
    write_manifest(
        sidecar,
        stage=STAGE,
        inputs={"model": checkpoint, "result": source / "result.json", "example": example},
        outputs=[package, compiled, *bonded_files],
        config={"device": device, "name": name, **options},
    )
    return Deployment(sidecar, content)


def check_options(device: str, tables: str, tf32: bool, precision: str | None, dtype: str) -> None:
    """Refuse what a device or a model does not have.

    Raises:
        ConfigError: unknown tables, kernels, Triton or TF32 for another device, or another
            precision than that of the training.
        ToolError: kernels without the built plugin, or Triton where it is not installed.
    """
    if tables not in ("auto", "kernels", "triton", "torch"):
        raise ConfigError(
            f"unknown tables {tables!r}; expected 'auto', 'kernels', 'triton' or 'torch'",
            key="tables",
        )
    if tables == "triton" and device != "cuda":
        raise ConfigError(
            f"Triton is for GPUs, the device is {device!r}; expected 'auto' or 'torch'",
            key="tables",
        )
    if tables == "triton" and not has_triton():
        raise ToolError("Triton is not installed (torch for CUDA brings it); use 'torch' tables")
    if tables == "kernels" and device != "cpu":
        raise ConfigError(
            f"the kernels are for CPUs, the device is {device!r}; expected 'auto' or 'torch'",
            key="tables",
        )
    if tables == "kernels" and built_operators() is None:
        raise ToolError("the kernels are part of the plugin; run 'cgpot plugin build' first")
    if tf32 and device != "cuda":
        raise ConfigError(
            f"TF32 is of CUDA devices, the device is {device!r}; leave --tf32 out", key="tf32"
        )
    if tf32 and dtype != "float32":
        raise ConfigError(f"TF32 is for float32, the model is in {dtype}", key="tf32")
    if precision not in (None, dtype):
        raise ConfigError(
            f"found {precision!r}, the model was trained in {dtype!r}: NequIP's networks fix their "
            "precision when they are built, and have no form in half precision; expected "
            f"{dtype!r} (on a GPU, --tf32 makes its products cheaper)",
            key="precision",
        )


def _temperature(result: TrainingRecord, wanted: float | None, source: Path) -> float:
    """The temperature of the deployed model, K."""
    trained = result.temperature
    if result.temperature_input is None:
        if wanted is not None and abs(wanted - trained) > 0.02 * trained:
            raise InputError(
                f"the model is a potential of mean force at {trained:g} K, not at {wanted:g} K; "
                "train with system.temperature_input to choose",
                file=source,
                key="temperature",
            )
        return trained
    low, high = result.temperature_input.range
    if wanted is None or not low - 1e-6 <= wanted <= high + 1e-6:
        found = "no temperature" if wanted is None else f"{wanted:g} K"
        raise InputError(
            f"the model was trained from {low:g} to {high:g} K; expected --temperature between "
            f"them, found {found}",
            file=source,
            key="temperature",
        )
    return wanted


def training_result(folder: Path) -> TrainingRecord:
    """result.json of a finished training folder, its files unchanged.

    Raises:
        InputError: no such folder, the training has not finished, or an unknown word in `pairs`.
        ManifestError: a file was changed since.
    """
    if not folder.is_dir():
        raise InputError("expected the output folder of 'cgpot train'", file=folder)
    path = folder / "result.json"
    if not path.is_file():
        raise InputError(
            "no result.json: the training has not finished; run 'cgpot train' again, it goes "
            "on where it stopped",
            file=folder,
        )
    content = read_json(path)
    if isinstance(content, dict) and content.get("format") == "cgpot-refined-pair-1":
        raise InputError(
            "a refined pair potential of an earlier version; run the same 'cgpot refine' command "
            "again: it writes the folder anew, and no iteration is run again",
            file=path,
            key="format",
        )
    result = TrainingRecord.of(content, path)
    if result.pairs not in SEEN_PAIRS:
        raise InputError(
            f"expected one of {', '.join(SEEN_PAIRS)}, found {result.pairs!r}",
            file=path,
            key="pairs",
        )
    check_manifest(path, stage="training")
    return result


def _versions() -> dict[str, str]:
    return package_versions(("torch", "nequip"))


def _current(
    sidecar: Path,
    checkpoint: str,
    device: str,
    options: dict[str, Any],
    ways: tuple[str, ...],
    temperature: float | None = None,
) -> bool:
    """Whether the files were made from this checkpoint, for this device and these versions."""
    from cgpot.deploy.operators import VERSION
    from cgpot.deploy.target import INPUTS

    if not sidecar.is_file() or not manifest_path(sidecar).is_file():
        return False
    try:
        check_manifest(sidecar, stage=STAGE)
    except ManifestError:
        return False
    content = read_json(sidecar)
    versions = _versions()
    return bool(
        content["sha256"].get("model.ckpt") == checkpoint
        and content["device"] == device
        and all(content.get(key) == value for key, value in options.items())
        and content.get("tables") in ways
        and set(content.get("tables_ms", ())) == (set(ways) if len(ways) > 1 else set())
        and content["inputs"] == list(INPUTS)
        and content.get("operators") == VERSION
        and temperature in (None, content["temperature"])
        and content["torch_version"] == versions["torch"].split("+")[0]
        and content["nequip_version"] == versions["nequip"]
    )


def _sidecar(
    result: TrainingRecord,
    temperature: float,
    checkpoint: str,
    package: Path,
    compiled: Path,
    device: str,
    verification: dict[str, Any],
) -> dict[str, Any]:
    """Content of model.cgpot.json."""
    from cgpot.deploy.operators import VERSION
    from cgpot.deploy.target import INPUTS, OUTPUTS

    versions = _versions()
    return {
        "format": ModelRecord.FORMAT,
        "units": {"energy": "eV", "length": "angstrom"},
        "bead_names": list(result.bead_names),
        "masses": list(result.masses),
        "cutoff": result.cutoff,
        "pairs": result.pairs,
        "temperature": temperature,
        "density_kg_m3": result.density_kg_m3,
        "dtype": result.dtype,
        "device": device,
        "torch_version": versions["torch"].split("+")[0],
        "nequip_version": versions["nequip"],
        "sha256": {
            compiled.name: sha256_file(compiled),
            package.name: sha256_file(package),
            "model.ckpt": checkpoint,
        },
        "inputs": list(INPUTS),
        "outputs": list(OUTPUTS),
        "operators": VERSION,
        "per_edge_type_cutoff": None,
        "verification": verification,
        "data": result.quality(),
    }
