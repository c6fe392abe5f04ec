# SPDX-License-Identifier: GPL-2.0-or-later
"""Energies (.edr): the virial, and what goes with it."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.core.files import require_file
from cgpot.core.units import KJ_MOL, NM
from cgpot.formats.atomistic import ThermoSeries

VIRIAL_TERMS = tuple(f"Vir-{a}{b}" for a in "XYZ" for b in "XYZ")


def edr_terms(path: Path) -> dict[str, NDArray[np.float64]]:
    """Time and the terms that are needed, by name, (n,) each.

    pyedr's own functions take a truncated file for one that ends; the reader's position after
    the last frame tells.

    Raises:
        InputError: not an .edr, or truncated.
    """
    import pyedr.pyedr as reader

    wanted = (*VIRIAL_TERMS, "Pressure", "Temperature", "Volume")
    rows: list[list[float]] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stream = reader.EDRFile(str(path))
            names = [str(item.name) for item in stream.nms]
            columns = {name: names.index(name) for name in wanted if name in names}
            end = stream.data.get_position()
            for frame in stream:
                end = stream.data.get_position()
                if frame.ener:
                    rows.append([frame.t] + [frame.ener[i].e for i in columns.values()])
            total = len(stream.data.get_buffer())
    except (OSError, EOFError, ValueError, RuntimeError, IndexError, struct.error) as err:
        raise InputError(
            f"truncated or not an .edr, after {len(rows)} entries: {err!r}", file=path
        ) from err
    if end != total:
        raise InputError(
            f"truncated: {total - end} bytes of an incomplete entry follow entry {len(rows)}",
            file=path,
        )
    table = np.asarray(rows, dtype=np.float64).reshape(-1, len(columns) + 1)
    return {"Time": table[:, 0], **{name: table[:, i + 1] for i, name in enumerate(columns)}}


def read_edr(path: str | Path) -> ThermoSeries:
    """Virial, pressure, temperature and volume of an .edr.

    Raises:
        InputError: not an .edr, truncated, no virial, or NaN (the time is named).
    """
    p = require_file(path, "energy file")
    terms = edr_terms(p)
    times = terms["Time"]
    if not len(times):
        raise InputError("the energy file holds no frame", file=p)
    missing = [name for name in VIRIAL_TERMS if name not in terms]
    if missing:
        raise InputError(
            f"no virial (terms {missing[:3]} ... missing); expected an .edr of a run with "
            "pressure computed",
            file=p,
        )
    _, last = np.unique(times[::-1], return_index=True)
    rows = np.sort(len(times) - 1 - last)
    times = times[rows]
    xi = np.stack([terms[n][rows] for n in VIRIAL_TERMS], axis=1)
    bad = np.flatnonzero(~np.isfinite(xi).all(axis=1))
    if len(bad):
        raise InputError(f"the virial at {times[bad[0]]:g} ps holds NaN or infinity", file=p)

    def series(name: str, factor: float = 1.0) -> NDArray[np.float64] | None:
        if name not in terms:
            return None
        return terms[name][rows] * factor

    return ThermoSeries(
        path=p,
        key="time",
        keys=times,
        virial=-2.0 * KJ_MOL * xi.reshape(-1, 3, 3),
        pressure=series("Pressure"),
        temperature=series("Temperature"),
        volume=series("Volume", NM**3),
        time=times,
        notes=("W_AA = -2 Xi from the .edr terms Vir-XX ... Vir-ZZ",),
    )
