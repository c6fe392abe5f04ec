# SPDX-License-Identifier: GPL-2.0-or-later
"""ensemble.json of `cgpot ensemble`, and what `cgpot deploy` makes of it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from cgpot.core.records.record import Positive, Record


def _members(least: int) -> BeforeValidator:
    """A list of names, of so many at least."""
    what = "members" if least == 1 else "at least two members"

    def check(value: Any) -> Any:
        if not isinstance(value, list | tuple) or len(value) < least:
            raise ValueError(f"expected a list of {what}")
        return value

    return BeforeValidator(check)


class EnsembleRecord(Record):
    """ensemble.json of trained members.

    Attributes:
        members: folders beside the file.
        kind: ``network``, ``mscg`` or ``uf3``.
        mean: folder of the mean of linear members; None for networks.
        bead_names, temperature: of the members (K).
        spread: how the members differ on held-out frames.
    """

    FORMAT: ClassVar[str] = "cgpot-ensemble-1"

    members: Annotated[tuple[str, ...], _members(1)]
    kind: str = "network"
    mean: str | None = None
    bead_names: tuple[str, ...] = ()
    temperature: Positive | None = None
    spread: dict[str, Any] = Field(default_factory=dict)


class BatchFile(BaseModel):
    """The members in one compiled file, or why there is none.

    Attributes:
        file: its name.
        sha256: its hash.
        batch_ms, members_ms: time of an evaluation so, and of the members one by one.
        refused: the reason where it could not be made.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    file: str | None = None
    sha256: str | None = None
    batch_ms: float | None = None
    members_ms: float | None = None
    refused: str | None = None

    @property
    def faster(self) -> bool:
        """Whether there is such a file and it takes less time than the members."""
        if self.file is None or self.batch_ms is None or self.members_ms is None:
            return False
        return self.batch_ms < self.members_ms


class DeployedEnsembleRecord(Record):
    """``NAME.ensemble.json`` of compiled networks; `members` are files beside it."""

    FORMAT: ClassVar[str] = "cgpot-model-ensemble-1"

    members: Annotated[tuple[str, ...], _members(2)]
    sha256: dict[str, str] = Field(default_factory=dict)
    batch: BatchFile | None = None


class DeployedTablesRecord(Record):
    """``NAME.ensemble.json`` of linear models; `pair_file` is that of their mean."""

    FORMAT: ClassVar[str] = "cgpot-linear-ensemble-1"

    pair_file: str
    members: Annotated[tuple[str, ...], _members(2)]
