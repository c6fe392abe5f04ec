# SPDX-License-Identifier: GPL-2.0-or-later
"""One frame: atomistic positions, forces and virial to those of the sites.

The virial of the sites is exact frame by frame,

    W_CG = W_AA - sum_I sum_{i in I} (r_i - R_I) (x) f_i,

where ``f_i`` are all forces on the atoms, constraint forces included.  Where the trajectory
lacks constraint forces the sum is replaced by its mean: the internal kinetic energy, by
equipartition ``(3 N - N_constraints - 3 n_sites) k_B T / 3`` on the diagonal.  The mean holds for
any sites that are linear in the atoms, also for those that share some: the pressure is one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import DataError
from cgpot.core.units import KB, MVV_TO_EV
from cgpot.formats.atomistic import AtomFrame
from cgpot.mapping.sites import SiteGroup, SiteMap
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.whole import reduce_in_place, wrap

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
SAFE_FRACTION = 0.25
"""Atoms all within this fraction of the box of their reference cannot be wrapped wrongly."""
MAX_FRACTION_UNBONDED = 0.45


def _check_whole(
    d: Array, cell: Array, group: SiteGroup, bonds: IntArray | None, frame: AtomFrame
) -> None:
    """Refuse sites for which minimum images to the reference atom are ambiguous.

    With every atom within a quarter of the box of the reference no bond can have been cut: an
    atom wrapped wrongly would need a bond that jumps over half the box.  Beyond that the bonds
    decide; without bonds, a margin below half the box.
    """
    inverse = np.linalg.inv(cell)
    # |fraction| <= max |component| times the largest column sum of the inverse.
    bound = max(d.max(), -d.min()) * np.abs(inverse).sum(axis=0).max()
    if bound <= SAFE_FRACTION:
        return
    if bonds is None:
        bad = np.abs(d @ inverse).max(axis=2) > MAX_FRACTION_UNBONDED
        columns = np.argwhere(bad)
    else:
        step = d[bonds[:, 0], bonds[:, 1]] - d[bonds[:, 0], bonds[:, 2]]
        cut = np.abs(step @ inverse).max(axis=1) > 0.5
        columns = bonds[cut][:, :2]
    if len(columns):
        site, atom = columns[0]
        faces = 1.0 / np.linalg.norm(inverse, axis=0).max()
        raise DataError(
            f"site {group.sites[site]} extends beyond half the box at atom "
            f"{group.atoms[site, atom]} (box faces {faces:.3f} Å apart); a molecule that large "
            "cannot be made whole from wrapped positions; write unwrapped positions or use a "
            "larger box",
            frame=frame.index,
        )


def map_frame(
    frame: AtomFrame,
    sites: SiteMap,
    *,
    virial: Array | None = None,
    dof_temperature: float | None = None,
) -> CGFrame:
    """Map one frame.

    Args:
        frame: the atomistic frame.
        sites: the resolved mapping.
        virial: (3, 3) W_AA, eV; None: no virial is made.
        dof_temperature: None: the exact formula; else the temperature (K) of the
            degrees-of-freedom form.

    Raises:
        DataError: NaN in positions or forces (the atom is named), or a molecule larger than
            half the box; forces on virtual sites that were not spread.
    """
    n = sites.topology.n_sites
    cell = frame.cell
    if not np.isfinite(cell).all() or not abs(np.linalg.det(cell)) > 0.0:
        raise DataError(f"the box is {cell.tolist()}; expected a finite volume", frame=frame.index)
    if len(sites.virtual) and (odd := frame.forces[sites.virtual].any(axis=1)).any():
        atom = sites.virtual[int(np.argmax(odd))]
        raise DataError(
            f"the massless atom {atom} has a force of {frame.forces[atom].tolist()} eV/Å; expected "
            "forces that the engine has spread over the atoms that a virtual site is made from",
            frame=frame.index,
        )
    positions = np.empty((n, 3))
    forces = np.empty((n, 3))
    internal = np.zeros((3, 3))
    exact = virial is not None and dof_temperature is None
    for g, group in enumerate(sites.groups):
        x = group.take(frame.positions)
        f = group.take(frame.forces)
        reference = x[:, group.reference]
        d = x - reference[:, None, :]
        if not frame.whole:
            reduce_in_place(d, cell)
            bonds = None if sites.bonds is None else sites.bonds[g]
            _check_whole(d, cell, group, bonds, frame)
        centre = np.matmul(group.position_weights, d)
        positions[group.sites] = reference + centre
        forces[group.sites] = np.matmul(group.force_weights, f)
        if exact:
            total = np.matmul(np.ones(f.shape[1]), f)
            internal += d.reshape(-1, 3).T @ f.reshape(-1, 3) - centre.T @ total
    if not (np.isfinite(positions).all() and np.isfinite(forces).all()):
        _name_nan(frame)
    w: Array | None = None
    if virial is not None:
        if dof_temperature is None:
            w = virial - internal
        else:
            dof = internal_dof(sites)
            w = virial + np.eye(3) * (dof / 3.0 * KB * dof_temperature)
        if not np.isfinite(w).all():
            _name_nan(frame)
            raise DataError("the virial holds NaN or infinity", frame=frame.index)
    return CGFrame(
        topology=sites.topology,
        positions=wrap(positions, cell),
        cell=cell,
        forces=forces,
        virial=w,
        time=frame.time,
        source_frame=frame.index,
    )


def internal_dof(sites: SiteMap) -> int:
    """Degrees of freedom inside the sites, ``3 N - N_constraints - 3 n_sites``.

    N are the mapped atoms with a mass: a virtual site has no motion of its own.
    The removal of the centre-of-mass motion takes 3 from the atoms and the same 3 from the
    sites: it does not enter the difference.
    """
    return 3 * sites.n_moving - (sites.n_constraints or 0) - 3 * sites.topology.n_sites


def site_temperature(frame: AtomFrame, sites: SiteMap, masses: Array) -> float | None:
    """Temperature of the sites' motion, K, or None where the frame holds no velocities.

    ``sum_I M_I V_I^2 / ((3 n - 3) k_B)`` with the velocities of the centres of mass and the
    masses of the run.  A thermostat holds the mean over all modes; a time step too long or a
    thermostat that feeds one kind of mode leaves the molecules at another temperature than the
    one set, and their structure with them.
    """
    if frame.velocities is None or sites.topology.n_sites < 2 or len(sites.shared):
        return None  # centres of mass that share atoms do not move independently
    energy = 0.0
    for group in sites.groups:
        m = masses[group.atoms]
        total = m.sum(axis=1)
        v = np.einsum("nk,nkx->nx", m, group.take(frame.velocities)) / total[:, None]
        energy += float(np.sum(total[:, None] * v * v)) * MVV_TO_EV
    removed = 0 if sites.left_out else 3  # of the motion of the whole system
    return energy / ((3 * sites.topology.n_sites - removed) * KB)


def _name_nan(frame: AtomFrame) -> None:
    for name, values in (("positions", frame.positions), ("forces", frame.forces)):
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad):
            raise DataError(
                f"{name} of atom {bad[0]} hold NaN or infinity ({len(bad)} such atoms)",
                frame=frame.index,
            )
