# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers as text: as many digits as the error allows."""

from __future__ import annotations

import math
from typing import Any

MISSING = "not measured"


def decimals(error: float) -> int:
    """Decimals that show an error with two digits (one where it starts with 3 or more)."""
    if not error or not math.isfinite(error):
        return 3
    exponent = math.floor(math.log10(abs(error)))
    leading = abs(error) / 10**exponent
    return max(0, -exponent + (1 if leading < 3 else 0))


def number(value: float | None, digits: int | None = None, unit: str = "") -> str:
    """A number with fixed decimals, or with four significant digits."""
    if value is None or not math.isfinite(value):
        return MISSING
    text = f"{value:.{digits}f}" if digits is not None else f"{value:.4g}"
    text = _minus(text)
    return f"{text} {unit}".rstrip()


def plus_minus(
    value: float | None, error: float | None, unit: str = "", *, fallback_digits: int = 2
) -> str:
    """``value ± error unit``; only the value when the error is unknown or zero."""
    if value is None or not math.isfinite(value):
        return MISSING
    if not error or not math.isfinite(error):
        return number(value, fallback_digits, unit)
    digits = min(decimals(error), 6)
    text = f"{_minus(f'{value:.{digits}f}')} ± {error:.{digits}f}"
    return f"{text} {unit}".rstrip()


def signed(value: float | None, digits: int, unit: str = "") -> str:
    """A difference, with its sign."""
    if value is None or not math.isfinite(value):
        return MISSING
    text = _minus(f"{value:+.{digits}f}")
    return f"{text} {unit}".rstrip()


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def scientific(value: float | None, digits: int = 1) -> str:
    """``−6.4 × 10⁻⁶``."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0.0:
        return "0"
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return f"{_minus(mantissa)} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}"


def dig(data: Any, *path: str | int) -> Any:
    """A value deep in plain data, or None where a step is missing."""
    for key in path:
        if isinstance(data, dict):
            data = data.get(key)
        elif isinstance(data, list) and isinstance(key, int) and -len(data) <= key < len(data):
            data = data[key]
        else:
            return None
    return data


def real(value: Any) -> float | None:
    """The value as a float if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _minus(text: str) -> str:
    zero = text.lstrip("-+").strip("0.") == ""
    if zero and text.startswith("-"):
        text = text[1:]
    return text.replace("-", "\N{MINUS SIGN}")
