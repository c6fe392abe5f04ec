# SPDX-License-Identifier: GPL-2.0-or-later
"""Temperatures of single kinds of motion in an atomistic benzene run.

    python mode_temperatures.py RUN.tpr RUN.trr [first time in ps]

A thermostat on the total kinetic energy leaves it open how the energy is shared.  Bonds in
OPLS-AA are harmonic, so the spread of a bond length tells the temperature of its stretch,
k_B T = k var(r) (apart from couplings to the angles and the time step); where the trajectory
holds velocities, those of the centres of mass tell the temperature of the translation.
"""

import sys
import warnings

import MDAnalysis
import numpy as np

from cgpot.core.units import KB, KJ_MOL, MVV_TO_EV

CH_STRETCH = 307105.6  # kJ/(mol nm^2), opls CA-HA
CC_STRETCH = 392459.2  # kJ/(mol nm^2), opls CA-CA
ATOMS = 12


def main(topology: str, trajectory: str, begin: float = 0.0) -> None:
    """Print the temperatures (K)."""
    warnings.simplefilter("ignore")
    universe = MDAnalysis.Universe(topology, trajectory)
    masses = universe.atoms.masses.reshape(-1, ATOMS)
    ch, cc, translation = [], [], []
    for ts in universe.trajectory:
        if ts.time < begin:
            continue
        box = ts.dimensions[:3].astype(float)
        x = ts.positions.astype(float).reshape(-1, ATOMS, 3)
        x -= box * np.round((x - x[:, :1]) / box)
        carbon, hydrogen = x[:, :6], x[:, 6:]
        ch.append(np.linalg.norm(hydrogen - carbon, axis=-1))
        cc.append(np.linalg.norm(carbon - np.roll(carbon, 1, axis=1), axis=-1))
        if ts.has_velocities:
            v = ts.velocities.astype(float).reshape(-1, ATOMS, 3)
            total = masses.sum(axis=1)
            centre = (masses[..., None] * v).sum(axis=1) / total[:, None]
            kinetic = 0.5 * (total[:, None] * centre**2).sum() * MVV_TO_EV
            translation.append(kinetic / (1.5 * (len(total) - 1) * KB))
    print(f"{trajectory}: {len(ch)} frames from {begin} ps")
    for name, lengths, k in (("C-H stretch", ch, CH_STRETCH), ("C-C stretch", cc, CC_STRETCH)):
        print(f"  {name}: k var(r) / k_B = {k / 100 * KJ_MOL * np.var(lengths) / KB:.1f} K")
    if translation:
        error = np.std(translation) / np.sqrt(len(translation))
        print(f"  centres of mass: {np.mean(translation):.1f} ± {error:.1f} K")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *(float(word) for word in sys.argv[3:]))
