# SPDX-License-Identifier: GPL-2.0-or-later
"""The first check on any data set: the pressure of the labels against the engine's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.core.statistics import MIN_SAMPLES, Estimate, estimate

Array = NDArray[np.float64]
SIGMAS = 4.0


@dataclass(frozen=True)
class PressureCheck:
    """Mean pressures and their difference, bar.

    Attributes:
        label: of the mapped frames, ``(n_sites k_B T + tr W_CG / 3) / V``.
        engine: of the atomistic engine at the same frames.
        difference: of the paired series engine - label, whose error is the combined one (both
            hold the same intermolecular part, so their errors are not independent).
        sigmas: |difference| over its error.
        agrees: within `SIGMAS`; None when there are too few frames to tell.
    """

    label: Estimate | None
    engine: Estimate | None
    difference: Estimate | None
    sigmas: float | None
    agrees: bool | None

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""

        def plain(value: Estimate | None) -> dict[str, Any] | None:
            return None if value is None else value.as_dict()

        return {
            "label": plain(self.label),
            "engine": plain(self.engine),
            "difference": plain(self.difference),
            "sigmas": self.sigmas,
            "allowed_sigmas": SIGMAS,
            "agrees": self.agrees,
        }


def compare_pressures(label: Array | None, engine: Array | None) -> PressureCheck:
    """Compare two series (n,) of pressures at the same frames, bar.

    Too short a series (fewer than 8 frames) is not judged.
    """
    if label is None or len(label) < MIN_SAMPLES:
        return PressureCheck(None, None, None, None, None)
    ours = estimate(label)
    if engine is None:
        return PressureCheck(ours, None, None, None, None)
    theirs = estimate(engine)
    difference = estimate(engine - label)
    if difference.error > 0.0:
        sigmas = abs(difference.mean) / difference.error
    else:
        sigmas = 0.0 if abs(difference.mean) < 1e-6 else math.inf
    return PressureCheck(ours, theirs, difference, sigmas, sigmas <= SIGMAS)


def likely_reason(
    difference: float, internal_kinetic: float, constrained: bool | None, exact: bool
) -> str:
    """What most likely lies behind a difference engine - label (bar).

    Args:
        difference: mean pressure of the engine minus that of the labels, bar.
        internal_kinetic: internal kinetic pressure ``dof k_B T / 3V`` of the molecules, bar.
        constrained: whether the run has constraints; None: unknown.
        exact: whether the exact formula was used.
    """
    if exact and constrained:
        return (
            "constraint forces are missing from the trajectory: use '--virial dof', or forces "
            "and virial of a rerun without intramolecular terms"
        )
    if internal_kinetic > 0 and 0.7 < abs(difference) / internal_kinetic < 1.3:
        return (
            "the difference is about the kinetic pressure inside the molecules "
            f"({internal_kinetic:.0f} bar): the virial may hold the kinetic part, or the "
            "internal virial was not removed"
        )
    if constrained is None and exact:
        return (
            "the run may have constraints whose forces the trajectory leaves out (state "
            "'constraints' in the mapping or give a .tpr), or the energy file lacks tail "
            "corrections"
        )
    return (
        "tail corrections counted on one side only, another temperature than the run's, forces "
        "of another run, constraint forces missing, or a time step so long that the kinetic "
        "and the configurational temperature inside the molecules differ"
    )


def require_agreement(check: PressureCheck, reason: str, file: Any) -> None:
    """Refuse a data set whose pressure disagrees with the engine's.

    Raises:
        DataError: both means, the difference with its error, and the likely reason.
    """
    if (
        check.agrees is not False
        or check.label is None
        or check.engine is None
        or check.difference is None
    ):
        return
    raise DataError(
        f"mean pressure of the labels {check.label.mean:.1f} ± {check.label.error:.1f} bar, of "
        f"the engine {check.engine.mean:.1f} ± {check.engine.error:.1f} bar: they differ by "
        f"{check.difference.mean:.1f} ± {check.difference.error:.1f} bar ({check.sigmas:.1f} "
        f"standard errors, {SIGMAS:g} allowed). Likely reason: {reason}. If you know why, pass "
        "--accept-pressure-mismatch with the reason; it is recorded",
        file=file,
    )


TEMPERATURE_SHARE = 0.02
"""A difference of the sites' temperature below this share of it is not worth a note."""


def temperature_note(sites: Sequence[float], wanted: float | None) -> str | None:
    """A note when the sites move at another temperature than the one stated.

    Args:
        sites: temperatures of the sites' motion in frames with velocities, K.
        wanted: temperature of the run, K.
    """
    if wanted is None or len(sites) < MIN_SAMPLES:
        return None
    found = estimate(sites)
    difference = abs(found.mean - wanted)
    if difference < max(SIGMAS * found.error, TEMPERATURE_SHARE * wanted):
        return None
    return (
        f"the sites move at {found.mean:.1f} ± {found.error:.1f} K, but {wanted:.1f} K are stated: "
        "the modes of the run are not at one temperature, and its structure and pressure are "
        "not those of the stated one (check thermostat and time step)"
    )
