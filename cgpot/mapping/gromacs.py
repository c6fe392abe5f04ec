# SPDX-License-Identifier: GPL-2.0-or-later
"""GROMACS files: topology (.tpr, .gro), trajectory (.trr) and energies (.edr).

Signs and units: the .trr holds nm, kJ/(mol nm), ps; the .edr holds ``Xi = -W/2`` in kJ/mol
(GROMACS manual, "Virial and pressure"), so ``W_AA = -2 Xi``.  The dispersion correction and
PME are part of ``Xi``.  The .trr forces leave the constraint forces out.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import InputError
from cgpot.core.files import require_file
from cgpot.core.units import KJ_MOL, NM
from cgpot.mapping.atoms import AtomFrame, AtomTopology, ThermoSeries

TRR_MAGIC = 1993
FORCE_UNIT = KJ_MOL / NM
VIRIAL_TERMS = tuple(f"Vir-{a}{b}" for a in "XYZ" for b in "XYZ")


def read_topology(path: str | Path) -> AtomTopology:
    """Read a .tpr (masses, bonds, molecules, constraints) or a .gro (atom count only).

    Raises:
        InputError: missing, or not readable as its suffix says.
    """
    p = require_file(path, "topology")
    if p.suffix == ".tpr":
        return _read_tpr(p)
    if p.suffix == ".gro":
        return _read_gro(p)
    raise InputError(
        f"unknown topology format {p.suffix!r}; expected .tpr or .gro (GROMACS) or .data (LAMMPS)",
        file=p,
    )


def _read_gro(path: Path) -> AtomTopology:
    """A .gro holds neither masses nor bonds: only the atom count and names are taken."""
    import MDAnalysis

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            universe = MDAnalysis.Universe(str(path), to_guess=())
    except (ValueError, OSError, IndexError, StopIteration) as err:
        raise InputError(f"not a readable .gro: {err}", file=path) from err
    return AtomTopology(path, len(universe.atoms), None, None, None, None, universe)


def _read_tpr(path: Path) -> AtomTopology:
    """A .tpr through MDAnalysis, and its constraints.

    MDAnalysis counts constraints among the bonds and does not tell them apart; its interaction
    lists are therefore looked at while it parses the molecule types.
    """
    import MDAnalysis
    from MDAnalysis.topology.tpr import utils
    from MDAnalysis.topology.TPRParser import TPRParser

    lists: list[Any] = []
    kinds: list[tuple[int, list[tuple[int, int]]]] = []
    read_lists, read_type = utils.do_ilists, utils.do_moltype

    def do_ilists(*args: Any, **kwargs: Any) -> Any:
        result = read_lists(*args, **kwargs)
        lists.append(result)
        return result

    def do_moltype(*args: Any, **kwargs: Any) -> Any:
        result = read_type(*args, **kwargs)
        kinds.append((result.number_of_atoms(), _constrained_pairs(lists[-1])))
        return result

    order: list[tuple[int, int]] = []
    read_block = utils.do_molblock

    def do_molblock(*args: Any, **kwargs: Any) -> Any:
        result = read_block(*args, **kwargs)
        order.append((result.molb_type, result.molb_nmol))
        return result

    try:
        utils.do_ilists, utils.do_moltype = do_ilists, do_moltype
        utils.do_molblock = do_molblock
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            universe = MDAnalysis.Universe(TPRParser(str(path)).parse(), to_guess=())
    except (OSError, ValueError, EOFError, NotImplementedError, IndexError, struct.error) as err:
        raise InputError(f"not a readable .tpr: {err}", file=path) from err
    finally:
        utils.do_ilists, utils.do_moltype = read_lists, read_type
        utils.do_molblock = read_block

    pairs: list[NDArray[np.int64]] = []
    start = 0
    for kind, count in order:
        n, mine = kinds[kind]
        if mine:
            base = np.asarray(mine, dtype=np.int64)
            shift = start + n * np.arange(count, dtype=np.int64)
            pairs.append((base[None] + shift[:, None, None]).reshape(-1, 2))
        start += n * count
    n_atoms = len(universe.atoms)
    if start != n_atoms:
        raise InputError(
            f"molecule types sum to {start} atoms, the system has {n_atoms}", file=path
        )
    bonds = np.asarray(universe.bonds.indices, dtype=np.int64).reshape(-1, 2)
    return AtomTopology(
        path=path,
        n_atoms=n_atoms,
        masses=_clean_masses(universe.atoms.masses),
        bonds=bonds,
        molecules=np.asarray(universe.atoms.molnums, dtype=np.int64),
        constraints=np.concatenate(pairs) if pairs else np.zeros((0, 2), dtype=np.int64),
        universe=universe,
    )


def _clean_masses(values: NDArray[Any]) -> NDArray[np.float64]:
    """Masses stored as float32 (12.01099968) as the decimal numbers they were (12.011)."""
    return np.asarray([float(f"{m:.7g}") for m in values], dtype=np.float64)


def _constrained_pairs(interactions: list[Any]) -> list[tuple[int, int]]:
    """Constrained atom pairs of a molecule type (CONSTR, CONSTRNC; three per SETTLE)."""
    pairs: list[tuple[int, int]] = []
    for item in interactions:
        if item.nr <= 0:
            continue
        name = item.ik[0]
        values = [int(v) for v in item.iatoms]
        if name in ("CONSTR", "CONSTRNC"):
            pairs += list(zip(values[1::3], values[2::3], strict=True))
        elif name == "SETTLE":
            if len(values) == 2:
                triples = [(values[1], values[1] + 1, values[1] + 2)]
            else:
                triples = list(zip(values[1::4], values[2::4], values[3::4], strict=True))
            for o, h1, h2 in triples:
                pairs += [(o, h1), (o, h2), (h1, h2)]
    return pairs


@dataclass(frozen=True)
class TrrHeader:
    """What the header of one .trr frame says.

    Attributes:
        offset, size: bytes of the frame in the file.
        n_atoms, step, time: as named; time in ps.
        real: bytes of a number, 4 or 8.
        box_at, positions_at, velocities_at, forces_at: bytes from the start of the frame, or
            None where absent.
    """

    offset: int
    size: int
    n_atoms: int
    step: int
    time: float
    real: int
    box_at: int | None
    positions_at: int | None
    velocities_at: int | None
    forces_at: int | None

    @property
    def complete(self) -> bool:
        """Whether the frame holds box, positions and forces."""
        return None not in (self.box_at, self.positions_at, self.forces_at)


def scan_trr(path: str | Path) -> list[TrrHeader]:
    """Headers of all frames, from header to header without reading the data.

    Raises:
        InputError: not a .trr, or truncated (the frame is named).
    """
    p = require_file(path, "trajectory")
    total = p.stat().st_size
    headers: list[TrrHeader] = []
    with open(p, "rb") as stream:
        offset = 0
        while offset < total:
            index = len(headers)
            stream.seek(offset)
            header = _parse_header(stream.read(128), offset, p, index)
            if header is None:
                raise InputError(
                    f"truncated trajectory: the file ends inside the header of this frame "
                    f"(byte {total})",
                    file=p,
                    frame=index,
                )
            if offset + header.size > total:
                raise InputError(
                    f"truncated trajectory: the frame needs {header.size} bytes, the file has "
                    f"{total - offset} left",
                    file=p,
                    frame=index,
                )
            headers.append(header)
            offset += header.size
    return headers


def _parse_header(block: bytes, offset: int, path: Path, index: int) -> TrrHeader | None:
    """The header at the start of ``block``; None when the block is too short for one.

    XDR: magic number, version string, ten sizes in bytes (input record, energies, box, virial,
    pressure, topology, symbols, positions, velocities, forces), atoms, step, energy count,
    time, lambda; then the data in the order of the sizes.
    """
    if len(block) < 4:
        return None
    if struct.unpack(">i", block[:4])[0] != TRR_MAGIC:
        raise InputError("not a .trr frame (wrong magic number)", file=path, frame=index)
    if len(block) < 12:
        return None
    at = 12 + (struct.unpack(">i", block[8:12])[0] + 3) // 4 * 4
    if len(block) < at + 52:
        return None
    *sizes, n_atoms, step, _ = struct.unpack(">13i", block[at : at + 52])
    real = 4
    if n_atoms > 0 and max(sizes[7:]):
        real = max(sizes[7:]) // (3 * n_atoms)
    elif sizes[2]:
        real = sizes[2] // 9
    if real not in (4, 8) or min(sizes) < 0:
        raise InputError("damaged header of a .trr frame", file=path, frame=index)
    at += 52
    if len(block) < at + 2 * real:
        return None
    time = struct.unpack(">d" if real == 8 else ">f", block[at : at + real])[0]
    at += 2 * real
    starts = [at + sum(sizes[:i]) if sizes[i] else None for i in range(10)]
    return TrrHeader(
        offset=offset,
        size=at + sum(sizes),
        n_atoms=n_atoms,
        step=step,
        time=float(time),
        real=real,
        box_at=starts[2],
        positions_at=starts[7],
        velocities_at=starts[8],
        forces_at=starts[9],
    )


class TrrTrajectory:
    """A .trr with positions and forces, read frame by frame.

    The numbers lie in the file as big-endian blocks whose places the headers give, and are
    taken from there.  MDAnalysis reads .trr as well (the tests compare), but takes a file that
    ends inside a header for one that ends, leaves an index file beside the trajectory, and
    decodes number by number: ten times slower, half of the mapping's time.

    Args:
        path: the trajectory.
        n_atoms: atoms of the topology.
        skip_incomplete: leave out frames without positions or forces instead of refusing.

    Raises:
        InputError: truncated, another number of atoms, or frames without forces.
    """

    def __init__(self, path: str | Path, n_atoms: int, *, skip_incomplete: bool = False) -> None:
        self.path = Path(path)
        headers = scan_trr(self.path)
        if not headers:
            raise InputError("the trajectory holds no frame", file=self.path)
        for index, header in enumerate(headers):
            if header.n_atoms != n_atoms:
                raise InputError(
                    f"{header.n_atoms} atoms, but the topology has {n_atoms}; expected files of "
                    "one system",
                    file=self.path,
                    frame=index,
                )
        incomplete = [i for i, h in enumerate(headers) if not h.complete]
        if incomplete and (not skip_incomplete or len(incomplete) == len(headers)):
            first = incomplete[0]
            what = "positions" if headers[first].positions_at is None else "forces"
            raise InputError(
                f"no {what} in this frame ({len(incomplete)} of {len(headers)} frames lack "
                "positions or forces); set nstxout and nstfout to the same interval, make the "
                "forces with 'gmx mdrun -rerun', or pass --skip-incomplete",
                file=self.path,
                frame=first,
            )
        self.headers = headers
        self.skipped = len(incomplete)

    def __len__(self) -> int:
        return len(self.headers) - self.skipped

    def __iter__(self) -> Iterator[AtomFrame]:
        with open(self.path, "rb") as stream:
            for index, header in enumerate(self.headers):
                if header.box_at is None or header.positions_at is None or header.forces_at is None:
                    continue
                stream.seek(header.offset)
                block = stream.read(header.size)
                if len(block) != header.size:
                    raise InputError(
                        "truncated trajectory: the file became shorter", file=self.path, frame=index
                    )
                kind = np.dtype(f">f{header.real}")
                n = 3 * header.n_atoms
                yield AtomFrame(
                    index=index,
                    step=header.step,
                    time=header.time,
                    positions=_numbers(block, kind, n, header.positions_at, NM),
                    forces=_numbers(block, kind, n, header.forces_at, FORCE_UNIT),
                    cell=_numbers(block, kind, 9, header.box_at, NM),
                    velocities=None
                    if header.velocities_at is None
                    else _numbers(block, kind, n, header.velocities_at, NM),
                )


def _numbers(
    block: bytes, kind: np.dtype[Any], count: int, at: int, unit: float
) -> NDArray[np.float64]:
    """Vectors (count / 3, 3) from a frame's bytes, converted."""
    values = np.frombuffer(block, dtype=kind, count=count, offset=at).astype(np.float64)
    values *= unit
    return values.reshape(-1, 3)


def _edr_terms(path: Path) -> dict[str, NDArray[np.float64]]:
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
    terms = _edr_terms(p)
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
