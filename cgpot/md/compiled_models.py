# SPDX-License-Identifier: GPL-2.0-or-later
"""The compiled models of a run: one, or the members of a deployed ensemble.

``cgpot deploy`` of an ensemble writes ``NAME.ensemble.json`` beside the members; a run takes
that file, or the folder that holds it, in place of a ``.nequip.pt2``.
"""

from __future__ import annotations

from pathlib import Path

from cgpot.core.errors import ConfigError, InputError, ManifestError
from cgpot.core.files import require_file, sha256_file
from cgpot.core.records import DeployedEnsembleRecord
from cgpot.md.md_settings import MdConfig
from cgpot.md.start import MODEL_SUFFIX

ENSEMBLE_SUFFIX = ".ensemble.json"


def model_file(path: str | Path) -> Path:
    """The file that a path names: in a folder its ensemble, or its only compiled model.

    Raises:
        InputError: the folder holds none, or several.
    """
    p = Path(path)
    if not p.is_dir():
        return p
    for ending in (ENSEMBLE_SUFFIX, MODEL_SUFFIX):
        found = sorted(p.glob(f"*{ending}"))
        if len(found) == 1:
            return found[0]
        if len(found) > 1:
            names = ", ".join(f.name for f in found)
            raise InputError(f"the folder holds {names}; name one of them", file=p)
    raise InputError(
        f"the folder holds neither a *{ENSEMBLE_SUFFIX} nor a *{MODEL_SUFFIX}; run 'cgpot deploy'",
        file=p,
    )


def model_files(path: str | Path) -> list[Path]:
    """Compiled models of a run: the file itself, or the members of an ensemble.

    Raises:
        InputError: missing file or member, or a file that is no ensemble.
        ManifestError: a member is not the one that the ensemble was written with.
    """
    p = require_file(model_file(path), "compiled model")
    if not p.name.endswith(ENSEMBLE_SUFFIX):
        return [p]
    record = DeployedEnsembleRecord.read(p)
    paths = [require_file(p.parent / name, "member of the ensemble") for name in record.members]
    for member in paths:
        stated = record.sha256.get(member.name)
        if stated is not None and stated != sha256_file(member):
            raise ManifestError(
                f"changed since {p.name} was written (sha256 differs); run 'cgpot deploy' again",
                file=member,
            )
    return paths


def batch_file(path: str | Path) -> Path | None:
    """The file that evaluates all members of an ensemble together, where it is the faster way.

    Raises:
        InputError: it is missing.
        ManifestError: it is not the one that the ensemble was written with.
    """
    p = model_file(path)
    if not p.name.endswith(ENSEMBLE_SUFFIX):
        return None
    batch = DeployedEnsembleRecord.read(p).batch
    if batch is None or batch.file is None or not batch.faster:
        return None
    found = require_file(p.parent / batch.file, "members of the ensemble in one file")
    if batch.sha256 != sha256_file(found):
        raise ManifestError(
            f"changed since {p.name} was written (sha256 differs); run 'cgpot deploy' again",
            file=found,
        )
    return found


def check_members(config: MdConfig, count: int) -> None:
    """Refuse settings of an ensemble that the models do not allow.

    Raises:
        ConfigError: a spread of one model, or a member that does not exist.
    """
    if count < 2 and (config.spread_every or config.member is not None):
        key = "spread_every" if config.spread_every else "member"
        raise ConfigError(
            f"needs an ensemble of models, found the single model {config.model}", key=key
        )
    if config.member is not None and config.member > count:
        raise ConfigError(f"the ensemble has {count} members, found {config.member}", key="member")
