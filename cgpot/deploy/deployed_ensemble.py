# SPDX-License-Identifier: GPL-2.0-or-later
"""Deployment of an ensemble: every member compiled, and one file that names them all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cgpot.core.errors import InputError, ToolError
from cgpot.core.files import read_json, sha256_file
from cgpot.core.manifest import manifest_path, write_manifest
from cgpot.core.records import (
    DeployedEnsembleRecord,
    DeployedTablesRecord,
    EnsembleRecord,
    ModelRecord,
    Record,
)
from cgpot.deploy.deployment import STAGE, Deployment, deploy
from cgpot.deploy.package import compile_package
from cgpot.deploy.verify import verify_batch


def is_ensemble(training: str | Path) -> bool:
    """Whether a folder is one of `cgpot ensemble`."""
    return (Path(training) / "ensemble.json").is_file()


def deploy_ensemble(
    training: str | Path,
    output: str | Path,
    *,
    device: str = "cpu",
    name: str = "model",
    quiet: bool = False,
    batch: bool | None = None,
    **options: Any,
) -> Deployment:
    """Make the files of `deploy` for each member, and `<name>.ensemble.json`.

    The members are `<name>.0.nequip.pt2`, `<name>.1.nequip.pt2`, ... with their sidecars.  Of
    linear models, whose mean is one of them, `<name>.pair.lmp` runs the mean and
    `<name>.0.pair.lmp`, ... the members.  `options` are those of `deploy`.

    With `batch` networks of one shape are also compiled together, `<name>.all.nequip.pt2`, which
    evaluates them in one batch; `<name>.ensemble.json` tells the time that takes beside that of
    the members, and runs of their mean take what is faster.  None: on GPUs.

    Raises:
        InputError: not a finished ensemble, or one whose mean is missing.
        ManifestError, ToolError, DataError: see `cgpot.deploy.deployment.deploy`.
    """
    source = Path(training).resolve() / "ensemble.json"
    record = EnsembleRecord.read(source)
    if record.kind != "network":
        return _linear(source, record, Path(output).resolve(), name)
    folder = Path(output).resolve()
    done: list[Deployment] = []
    for index, member in enumerate(record.members):
        if done and done[0].content["fast"]:  # networks of one kind: what is fastest for one
            options["tables"] = done[0].content["tables"]
        done.append(
            deploy(
                source.parent / member,
                folder,
                device=device,
                name=f"{name}.{index}",
                quiet=quiet,
                **options,
            )
        )
        if "bonded" in done[-1].content:
            raise InputError(
                "an ensemble of networks of molecules of several sites: each member has bonded "
                "terms of its own; deploy one of them",
                file=source,
            )
    models = [folder / f"{name}.{index}.nequip.pt2" for index in range(len(done))]
    sidecars = [deployment.content for deployment in done]
    file = folder / f"{name}.ensemble.json"
    if batch is None:
        batch = device == "cuda"
    record_of_batch = None
    if batch:
        example = source.parent / record.members[0] / "example.extxyz"
        record_of_batch = _together(file, name, models, example, device, options)
    content = {
        "format": DeployedEnsembleRecord.FORMAT,
        "batch": record_of_batch,
        "members": [model.name for model in models],
        "sha256": {model.name: sha256_file(model) for model in models},
        "bead_names": sidecars[0]["bead_names"],
        "temperature": sidecars[0]["temperature"],
        "device": device,
        "spread": record.spread,
        "verification": _worst([sidecar["verification"] for sidecar in sidecars]),
    }
    outputs = list(models)
    if record_of_batch and "file" in record_of_batch:
        outputs.append(folder / str(record_of_batch["file"]))
    return _describe(file, content, done, source, outputs, {"device": device, "name": name})


def _together(
    file: Path,
    name: str,
    models: list[Path],
    example: Path,
    device: str,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Compile the members into one file; what is known of it, or why there is none."""
    folder = file.parent
    target = folder / f"{name}.all.nequip.pt2"
    sidecar = folder / f"{name}.all.cgpot.json"
    hashes = {model.name: sha256_file(model) for model in models}
    if file.is_file() and target.is_file() and sidecar.is_file():
        before = read_json(file)
        if before.get("sha256") == hashes and (before.get("batch") or {}).get(
            "sha256"
        ) == sha256_file(target):
            return dict(before["batch"])
    packages = [folder / f"{name}.{index}.nequip.zip" for index in range(len(models))]
    chosen = {key: options[key] for key in ("fast", "tables", "tf32") if key in options}
    try:
        compile_package(packages, target, device, **chosen)
    except ToolError as err:
        if "MembersDiffer" not in str(err):
            raise
        reason = str(err).split("MembersDiffer: ")[-1].strip()
        return {"refused": reason}
    checks = verify_batch(target, models, example, device)
    first = read_json(folder / f"{name}.0.cgpot.json")
    digest = sha256_file(target)
    content = {**first, "sha256": {target.name: digest}, "members": len(models)}
    content["verification"] = {**first["verification"], "compiled": checks["compiled"]}
    ModelRecord.write(sidecar, content)
    times = {key: round(checks[key], 3) for key in ("members_ms", "batch_ms")}
    return {"file": target.name, "sha256": digest, "errors": checks["compiled"], **times}


def _linear(source: Path, record: EnsembleRecord, folder: Path, name: str) -> Deployment:
    """Files of LAMMPS for the mean of linear models and for each member."""
    if record.mean is None:
        raise InputError(
            f"an ensemble of {record.kind} models without their mean; run 'cgpot ensemble' "
            "again, it keeps the members",
            file=source,
            key="mean",
        )
    done = [
        deploy(source.parent / member, folder, name=f"{name}.{index}")
        for index, member in enumerate(record.members)
    ]
    of_mean = deploy(source.parent / record.mean, folder, name=name)
    done.append(of_mean)
    file = folder / f"{name}.ensemble.json"
    content = {
        "format": DeployedTablesRecord.FORMAT,
        "kind": record.kind,
        "pair_file": of_mean.content["pair_file"],
        "members": [deployment.content["pair_file"] for deployment in done[:-1]],
        "bead_names": of_mean.content["bead_names"],
        "temperature": of_mean.content["temperature"],
        "spread": record.spread,
    }
    sidecars = [deployment.sidecar for deployment in done]
    return _describe(file, content, done, source, sidecars, {"name": name})


def _describe(
    file: Path,
    content: dict[str, Any],
    done: list[Deployment],
    source: Path,
    outputs: list[Path],
    config: dict[str, Any],
) -> Deployment:
    """Write the description and its manifest, unless all is up to date."""
    skipped = all(deployment.skipped for deployment in done)
    if skipped and file.is_file() and manifest_path(file).is_file() and read_json(file) == content:
        return Deployment(file, content, skipped=True)
    manifest_path(file).unlink(missing_ok=True)
    kind: type[Record] = DeployedTablesRecord if "kind" in content else DeployedEnsembleRecord
    kind.write(file, content)
    write_manifest(file, stage=STAGE, inputs={"ensemble": source}, outputs=outputs, config=config)
    return Deployment(file, content)


def _worst(records: list[dict[str, Any]]) -> dict[str, Any]:
    """The verification records of the members, the largest errors in one."""
    result = dict(records[0])
    for key in ("package", "compiled"):
        result[key] = {
            quantity: max(record[key][quantity] for record in records)
            for quantity in records[0][key]
        }
    return result
