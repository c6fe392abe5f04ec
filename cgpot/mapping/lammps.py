# SPDX-License-Identifier: GPL-2.0-or-later
"""LAMMPS files: data file, dump with forces, and thermo output as log or yaml.

Units are those of the unit style (``metal`` or ``real``) that the user states or that a file
holds (``ITEM: UNITS`` of a dump, the echoed ``units`` command of a log); nothing is guessed.
LAMMPS forces include those of ``fix shake`` and ``fix rattle``.

The full virial comes from thermo columns, best from ``compute vir all pressure NULL virial``
printed as ``c_vir[1] ... c_vir[6]`` or as variables ``v_wxx v_wyy v_wzz v_wxy v_wxz v_wyz``
(LAMMPS's order of components: xx, yy, zz, xy, xz, yz; pressure units).  With the pressure
tensor ``Pxx ... Pyz`` alone the kinetic part is taken out as ``2 KinEng / 3 V`` on the
diagonal: its trace is exact, its components are those of an isotropic kinetic tensor.
"""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError, UnitError
from cgpot.core.files import open_text, require_file
from cgpot.core.units import EV_PER_A3_IN_BAR, lammps_factors
from cgpot.mapping.atoms import AtomFrame, AtomTopology, ThermoSeries

Array = NDArray[np.float64]
COMPONENTS = ("xx", "yy", "zz", "xy", "xz", "yz")
VIRIAL_NAMES = (
    tuple(f"v_w{c}" for c in COMPONENTS),
    tuple(f"c_vir[{i}]" for i in range(1, 7)),
)
PRESSURE_NAMES = tuple(f"P{c}" for c in COMPONENTS)


def resolve_units(stated: str | None, found: dict[Path, str | None]) -> str:
    """The unit style of a run's files.

    Args:
        stated: by the user, or None.
        found: what each file says, or None where it is silent.

    Raises:
        UnitError: nobody says, or they contradict each other.
    """
    units = stated
    for path, value in found.items():
        if value is None:
            continue
        if units is not None and value != units:
            raise UnitError(f"units {value!r}, but {units!r} stated", file=path, key="units")
        units = value
    if units is None:
        raise UnitError(
            "the units are missing: neither the dump ('ITEM: UNITS', dump_modify units yes) nor "
            "the log ('units' command) holds them; pass --units metal or --units real",
            file=next(iter(found), None),
            key="units",
        )
    lammps_factors(units)
    return units


def read_data(path: str | Path) -> AtomTopology:
    """Topology from a LAMMPS data file, through MDAnalysis.

    Raises:
        InputError: missing or not readable (an unknown atom style needs 'Atoms # style').
    """
    import MDAnalysis

    p = require_file(path, "topology")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            universe = MDAnalysis.Universe(str(p), topology_format="DATA", format="DATA")
    except (ValueError, OSError, KeyError, IndexError, StopIteration) as err:
        raise InputError(f"not a readable LAMMPS data file: {err}", file=p) from err
    atoms = universe.atoms
    ids = np.asarray(atoms.ids, dtype=np.int64)
    if not np.array_equal(ids, np.arange(1, len(ids) + 1)):
        raise InputError(
            f"atom ids run from {ids.min()} to {ids.max()} for {len(ids)} atoms; expected 1 to "
            f"{len(ids)} (reset_atoms id)",
            file=p,
        )
    bonds: NDArray[np.int64] | None = None
    if hasattr(atoms, "bonds") and len(universe.bonds):
        bonds = np.asarray(universe.bonds.indices, dtype=np.int64).reshape(-1, 2)
    resids = np.asarray(atoms.resids, dtype=np.int64)
    _, molecules = np.unique(resids, return_inverse=True)
    return AtomTopology(
        path=p,
        n_atoms=len(atoms),
        masses=np.asarray(atoms.masses, dtype=np.float64) if hasattr(atoms, "masses") else None,
        bonds=bonds,
        molecules=np.asarray(molecules, dtype=np.int64),
        constraints=None,
        universe=universe,
        forces_hold_constraints=True,
    )


def dump_units(path: str | Path) -> str | None:
    """The unit style that the head of a dump holds (``dump_modify units yes``), or None."""
    with open_text(path) as stream:
        try:
            lines = [line.strip() for line in itertools.islice(stream, 12)]
        except (OSError, EOFError, UnicodeDecodeError) as err:
            raise InputError(f"not a text dump: {err}", file=path, frame=0) from err
    if "ITEM: UNITS" in lines[:-1]:
        return lines[lines.index("ITEM: UNITS") + 1]
    return None


class LammpsDump:
    """A text dump with forces, read frame by frame.

    MDAnalysis's dump reader converts neither forces nor units, undoes image flags for
    orthogonal boxes only and takes a truncated last frame for the end; hence this reader.
    Coordinates are taken, in this order, from ``xu yu zu``, ``x y z`` with ``ix iy iz``,
    ``xsu ysu zsu``, ``xs ys zs`` with ``ix iy iz`` (all unwrapped), ``x y z``, ``xs ys zs``.

    Args:
        path: the dump (.gz and .xz too).
        n_atoms: atoms of the topology.
        units: unit style stated by the user, or None (the file's).
        timestep: ps per step for files without times, or None.
        times: step -> ps, from the thermo output.
    """

    def __init__(
        self,
        path: str | Path,
        n_atoms: int,
        *,
        units: str | None,
        timestep: float | None = None,
        times: dict[int, float] | None = None,
    ) -> None:
        self.path = require_file(path, "trajectory")
        self.n_atoms = n_atoms
        self.units = units
        self.timestep = timestep
        self.times = times or {}
        self._estimate = self._count()

    def _count(self) -> int:
        """Number of frames from the size of the first; 0 when it cannot be told."""
        if self.path.suffix in (".gz", ".xz"):
            return 0
        with open(self.path, encoding="utf-8", errors="replace") as stream:
            size = 0
            for number, line in enumerate(stream):
                if number and line.startswith("ITEM: TIMESTEP"):
                    return max(1, round(self.path.stat().st_size / size))
                size += len(line)
        return 1

    def __len__(self) -> int:
        return self._estimate

    def __iter__(self) -> Iterator[AtomFrame]:
        index = 0
        with open_text(self.path) as stream:
            state: dict[str, Any] = {}
            while True:
                try:
                    frame = self._frame(stream, index, state)
                except (EOFError, OSError, UnicodeDecodeError) as err:
                    raise InputError(
                        f"truncated or damaged file: {err}", file=self.path, frame=index
                    ) from err
                if frame is None:
                    break
                yield frame
                index += 1
        if not index:
            raise InputError("the trajectory holds no frame", file=self.path)

    def _line(self, stream: IO[str], index: int) -> str:
        line = stream.readline()
        if not line.endswith("\n"):
            raise InputError(
                "truncated trajectory: the file ends inside this frame", file=self.path, frame=index
            )
        return line.strip()

    def _frame(self, stream: IO[str], index: int, state: dict[str, Any]) -> AtomFrame | None:
        step: int | None = None
        time: float | None = None
        n = -1
        geometry: tuple[Array, Array] | None = None
        while True:
            head = stream.readline()
            if not head:
                if step is not None:
                    raise InputError(
                        "truncated trajectory: the file ends inside this frame",
                        file=self.path,
                        frame=index,
                    )
                return None
            head = head.strip()
            if not head:
                continue
            try:
                if head == "ITEM: UNITS":
                    state["units"] = self._line(stream, index)
                elif head == "ITEM: TIME":
                    time = float(self._line(stream, index))
                elif head == "ITEM: TIMESTEP":
                    step = int(self._line(stream, index))
                elif head == "ITEM: NUMBER OF ATOMS":
                    n = int(self._line(stream, index))
                elif head.startswith("ITEM: BOX BOUNDS"):
                    geometry = self._box(head, [self._line(stream, index) for _ in range(3)], index)
                elif head.startswith("ITEM: ATOMS"):
                    break
                else:
                    raise InputError(
                        f"expected an 'ITEM:' line, found {head[:40]!r}",
                        file=self.path,
                        frame=index,
                    )
            except ValueError as err:
                raise InputError(f"{head!r}: {err}", file=self.path, frame=index) from err
        if step is None or geometry is None:
            raise InputError("no TIMESTEP or BOX BOUNDS", file=self.path, frame=index)
        if n != self.n_atoms:
            raise InputError(
                f"{n} atoms, but the topology has {self.n_atoms}; expected files of one system "
                "and a dump of all atoms",
                file=self.path,
                frame=index,
            )
        units = resolve_units(self.units, {self.path: state.get("units")})
        factors = lammps_factors(units)
        cell, origin = geometry
        table, columns = self._table(stream, head.split()[2:], n, index)
        positions, whole = self._positions(table, columns, cell, origin, index)
        forces = np.stack([table[columns[c]] for c in ("fx", "fy", "fz")], axis=1)
        velocities = None
        if all(c in columns for c in ("vx", "vy", "vz")):
            velocities = np.stack([table[columns[c]] for c in ("vx", "vy", "vz")], axis=1)
            velocities *= factors["length"] / factors["time"]
        if time is not None:
            time *= factors["time"]
        elif step in self.times:
            time = self.times[step]
        elif self.timestep is not None:
            time = step * self.timestep
        return AtomFrame(
            index=index,
            step=step,
            time=time,
            positions=positions * factors["length"],
            forces=forces * factors["force"],
            cell=cell * factors["length"],
            whole=whole,
            velocities=velocities,
        )

    def _box(self, head: str, lines: list[str], index: int) -> tuple[Array, Array]:
        """Cell (rows) and origin from the bounds (restricted triclinic boxes as well)."""
        if "abc origin" in head:
            raise InputError(
                "general triclinic box; expected an orthogonal or restricted triclinic one "
                "(dump_modify triclinic/general no)",
                file=self.path,
                frame=index,
            )
        values = np.asarray([[float(x) for x in line.split()] for line in lines])
        xy = xz = yz = 0.0
        if values.shape == (3, 3):
            xy, xz, yz = values[:, 2]
        elif values.shape != (3, 2):
            raise InputError(f"box bounds {lines}", file=self.path, frame=index)
        low = values[:, 0] - (min(0.0, xy, xz, xy + xz), min(0.0, yz), 0.0)
        high = values[:, 1] - (max(0.0, xy, xz, xy + xz), max(0.0, yz), 0.0)
        lx, ly, lz = high - low
        return np.asarray([[lx, 0.0, 0.0], [xy, ly, 0.0], [xz, yz, lz]]), low

    def _table(
        self, stream: IO[str], names: list[str], n: int, index: int
    ) -> tuple[Array, dict[str, int]]:
        """Columns (n_columns, n_atoms) in the order of the atom ids, and where each is."""
        missing = [c for c in ("id", "fx", "fy", "fz") if c not in names]
        if missing:
            what = "forces" if missing != ["id"] else "atom ids"
            raise InputError(
                f"no {what}: columns {missing} are missing, found {names}; expected a dump with "
                "'id x y z ix iy iz fx fy fz'",
                file=self.path,
                frame=index,
            )
        wanted = [
            c
            for c in names
            if c in ("id", "fx", "fy", "fz", "ix", "iy", "iz") or re.fullmatch(r"[xyz](u|s|su)?", c)
        ]
        lines = list(itertools.islice(stream, n))
        if len(lines) < n or not lines[-1].endswith("\n"):
            raise InputError(
                f"truncated trajectory: {len(lines)} of {n} atoms in this frame",
                file=self.path,
                frame=index,
            )
        try:
            table = np.loadtxt(lines, usecols=[names.index(c) for c in wanted], unpack=True)
        except (ValueError, IndexError) as err:
            raise InputError(f"damaged atom line: {err}", file=self.path, frame=index) from err
        table = np.atleast_2d(table) if n > 1 else np.reshape(table, (len(wanted), 1))
        columns = {c: i for i, c in enumerate(wanted)}
        ids = table[columns["id"]].astype(np.int64)
        order = np.argsort(ids, kind="stable")
        if not np.array_equal(ids[order], np.arange(1, n + 1)):
            raise InputError(
                f"atom ids are not 1 to {n}, each once; expected a dump of all atoms",
                file=self.path,
                frame=index,
            )
        return table[:, order], columns

    def _positions(
        self, table: Array, columns: dict[str, int], cell: Array, origin: Array, index: int
    ) -> tuple[Array, bool]:
        """Positions relative to the box's corner, and whether they are unwrapped."""

        def take(suffix: str) -> Array | None:
            wanted = [f"{a}{suffix}" for a in "xyz"]
            if not all(c in columns for c in wanted):
                return None
            return np.stack([table[columns[c]] for c in wanted], axis=1)

        images = None
        if all(c in columns for c in ("ix", "iy", "iz")):
            images = np.stack([table[columns[c]] for c in ("ix", "iy", "iz")], axis=1)
        if (unwrapped := take("u")) is not None:
            return unwrapped - origin, True
        if (plain := take("")) is not None:
            plain = plain - origin
            return (plain, False) if images is None else (plain + images @ cell, True)
        if (scaled := take("su")) is not None:
            return scaled @ cell, True
        if (scaled := take("s")) is not None:
            return (scaled @ cell, False) if images is None else ((scaled + images) @ cell, True)
        raise InputError(
            f"no coordinates among the columns {sorted(columns)}; expected x y z, xu yu zu or "
            "xs ys zs",
            file=self.path,
            frame=index,
        )


def parse_thermo(path: str | Path) -> tuple[list[str], Array, str | None]:
    """Thermo rows of a log or yaml file: column names, values (n, columns), units if echoed.

    Reads ``thermo_style custom`` in one-line and yaml form; runs with other columns than the
    last are left out, a last row cut short by a kill is dropped.  (pymatgen's log parser
    fails on a log that ends early.)

    Raises:
        InputError: no thermo output.
    """
    p = require_file(path, "thermo output")
    units: str | None = None
    sections: list[tuple[list[str], list[list[float]]]] = []
    names: list[str] | None = None
    in_yaml = False
    with open_text(p) as stream:
        for raw in stream:
            line = raw.strip()
            tokens = line.split()
            if len(tokens) == 2 and tokens[0] == "units" and tokens[1].isalpha():
                units = tokens[1]
            elif line.startswith("keywords:"):
                names = re.findall(r"[^\s,'\"\[\]]+(?:\[\d+\])?", line.removeprefix("keywords:"))
                in_yaml = True
                sections.append((names, []))
            elif tokens[:1] == ["Step"] and not in_yaml:
                names = tokens
                sections.append((names, []))
            elif line.startswith("Loop time") or line == "...":
                names = None
                in_yaml = False
            elif names is not None and raw.endswith("\n"):
                values = line.removeprefix("-").strip(" []").replace(",", " ").split()
                if in_yaml != line.startswith("- ["):
                    continue
                if len(values) != len(names):
                    continue
                try:
                    sections[-1][1].append([float(v) for v in values])
                except ValueError:
                    continue
    sections = [s for s in sections if s[1]]
    if not sections:
        raise InputError(
            "no thermo output found; expected a log with 'thermo_style custom step ...' or "
            "'thermo_modify line yaml'",
            file=p,
        )
    last = sections[-1][0]
    rows = [row for columns, part in sections if columns == last for row in part]
    return last, np.asarray(rows, dtype=np.float64), units


def read_thermo(path: str | Path, units: str | None) -> ThermoSeries:
    """Virial, pressure, temperature and volume from thermo output.

    Args:
        path: log or yaml.
        units: unit style stated by the user or another file, or None.

    Raises:
        InputError: columns missing (all are listed), NaN.
        UnitError: units unknown or contradicting.
    """
    p = Path(path)
    names, table, echoed = parse_thermo(p)
    factors = lammps_factors(resolve_units(units, {p: echoed}))
    column = {name: table[:, i] for i, name in enumerate(names)}
    if "Step" not in column:
        raise InputError(f"no column 'Step' among {names}", file=p)
    _, last = np.unique(column["Step"][::-1], return_index=True)
    rows = np.sort(len(table) - 1 - last)
    rows = rows[np.argsort(column["Step"][rows], kind="stable")]
    column = {name: values[rows] for name, values in column.items()}

    def series(*options: str) -> Array | None:
        return next((column[name] for name in options if name in column), None)

    volume = series("Volume", "v_vol")
    to_bar = factors["pressure"]
    found = next((group for group in VIRIAL_NAMES if all(c in column for c in group)), None)
    notes: tuple[str, ...]
    if found is not None:
        virial = _tensor([column[c] for c in found]) * to_bar
        notes = (f"W_AA from the thermo columns {found[0]} ... {found[-1]}",)
    elif all(c in column for c in PRESSURE_NAMES) and "KinEng" in column and volume is not None:
        kinetic = 2.0 / 3.0 * column["KinEng"] * factors["energy"] / volume * EV_PER_A3_IN_BAR
        virial = _tensor([column[c] for c in PRESSURE_NAMES]) * to_bar
        virial -= kinetic[:, None, None] * np.eye(3)
        notes = (
            "W_AA from Pxx ... Pyz less an isotropic kinetic part 2 KinEng / 3 V (the trace is "
            "exact; print 'compute vir all pressure NULL virial' for exact components)",
        )
    else:
        raise InputError(
            f"no virial among the columns {names}; expected {' '.join(VIRIAL_NAMES[0])} or "
            f"{' '.join(VIRIAL_NAMES[1])} (compute vir all pressure NULL virial), or "
            f"{' '.join(PRESSURE_NAMES)} with KinEng and Volume",
            file=p,
        )
    bad = np.flatnonzero(~np.isfinite(virial).all(axis=(1, 2)))
    if len(bad):
        raise InputError(
            f"the virial at step {column['Step'][bad[0]]:.0f} holds NaN or infinity", file=p
        )
    pressure = series("Press")
    if pressure is None and all(c in column for c in PRESSURE_NAMES[:3]):
        pressure = np.mean([column[c] for c in PRESSURE_NAMES[:3]], axis=0)
    time = series("Time", "v_time")
    return ThermoSeries(
        path=p,
        key="step",
        keys=column["Step"],
        virial=None,
        virial_pressure=virial,
        pressure=None if pressure is None else pressure * to_bar,
        temperature=series("Temp"),
        volume=volume,
        time=None if time is None else time * factors["time"],
        notes=notes,
    )


def _tensor(components: list[Array]) -> Array:
    """(n, 3, 3) symmetric tensors from LAMMPS's six components."""
    xx, yy, zz, xy, xz, yz = components
    return np.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz], axis=1).reshape(-1, 3, 3)
