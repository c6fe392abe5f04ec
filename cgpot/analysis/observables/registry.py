# SPDX-License-Identifier: GPL-2.0-or-later
"""All observables, in the order in which they are measured and shown.

g(r) comes first: it sets the radii of the shells for those behind it.
"""

from __future__ import annotations

from cgpot.analysis.observables.bond_angles import BondAngles
from cgpot.analysis.observables.bond_lengths import BondLengths
from cgpot.analysis.observables.compressibility import Compressibility
from cgpot.analysis.observables.density import Density
from cgpot.analysis.observables.diffusion import Diffusion
from cgpot.analysis.observables.dihedral_angles import Dihedrals
from cgpot.analysis.observables.end_to_end import EndToEnd
from cgpot.analysis.observables.energy_drift import EnergyDrift
from cgpot.analysis.observables.equation_of_state import EquationOfState
from cgpot.analysis.observables.observable import Observable
from cgpot.analysis.observables.pressure import Pressure
from cgpot.analysis.observables.radius_of_gyration import RadiusOfGyration
from cgpot.analysis.observables.rdf_between import RadialDistribution
from cgpot.analysis.observables.rdf_within import DistancesWithin
from cgpot.analysis.observables.shell_angles import ShellAngles
from cgpot.analysis.observables.temperature import Temperature

OF_FRAMES: tuple[type[Observable], ...] = (
    RadialDistribution,
    ShellAngles,
    DistancesWithin,
    BondLengths,
    BondAngles,
    Dihedrals,
    RadiusOfGyration,
    EndToEnd,
    Diffusion,
)
"""Those that need the positions of the sites."""

OF_SERIES: tuple[type[Observable], ...] = (
    Density,
    Pressure,
    Temperature,
    Compressibility,
    EquationOfState,
    EnergyDrift,
)
"""Those that need time series alone: a run without a trajectory has them too."""

OBSERVABLES = (*OF_FRAMES, *OF_SERIES)
