# SPDX-License-Identifier: GPL-2.0-or-later
"""The sidecar (``NAME.cgpot.json``) of a compiled network or of deployed tables."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from cgpot.core.records.record import Names, Positive, Record


class ModelRecord(Record):
    """What a deployed model says of itself; the plugin reads it too.

    Attributes:
        bead_names: bead types, in the order of the model's numbers.
        masses: of each bead type, amu.
        units: of energy and length.
        cutoff: Å.
        pairs: which pairs of sites the model sees (`cgpot.molecules.exclusions`).
        temperature: K.
        sha256: file -> hash.
        kind: of deployed tables (``mscg``, ``uf3``, ``pair``); None for networks.
        pair_file: of deployed tables: the file with LAMMPS's commands.
        bonded: which sites the bonded terms join, of tables or below a network; None without.
        bonded_file: of networks with bonded terms: the file with their LAMMPS commands.
        device: of networks: ``cpu`` or ``cuda``.
        verification: of networks: errors of the compiled file against the checkpoint.
    """

    FORMAT: ClassVar[str] = "cgpot-model-1"

    bead_names: Names
    masses: tuple[Positive, ...]
    units: dict[str, str]
    cutoff: Positive | None = None
    pairs: str = "all"
    temperature: Positive | None = None
    sha256: dict[str, str] = Field(default_factory=dict)
    kind: str | None = None
    pair_file: str | None = None
    bonded: dict[str, Any] | None = None
    bonded_file: str | None = None
    device: str | None = None
    verification: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.masses) != len(self.bead_names):
            raise ValueError(f"{len(self.masses)} masses for {len(self.bead_names)} bead types")
        return self
