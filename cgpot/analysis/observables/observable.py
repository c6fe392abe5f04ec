# SPDX-License-Identifier: GPL-2.0-or-later
"""What every observable does: take frames, give a record with errors, compare, show itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from cgpot.analysis.observables.plot import Plot, Quantity, Shown
from cgpot.analysis.series import Series
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.topology import Topology
from cgpot.molecules.whole import whole_positions

Record = dict[str, Any]


@dataclass
class System:
    """One system that is measured: a data set with its replicas, or a run.

    Attributes:
        temperature: K.
        r_max: upper end of g(r), Å.
        bins: number of bins of g(r).
        topology: the sites; None for a run without a trajectory.
        series: time series, of frames or of thermo.csv.
        ensemble: ``nvt``, ``npt`` or ``nve``.
        is_reference: whether later systems take radii and ranges from this one.
        radii: first minimum of the reference's g(r) by pair of types, Å; shared by all systems.
        ranges: upper ends of histograms that the reference sets; shared by all systems.
        notes: remarks for the reader.
        files: of the replicas, for messages.
        n_sites: number of beads, if known.
        pressure_method: how the pressure of a run was made.
    """

    temperature: float
    r_max: float
    bins: int
    topology: Topology | None = None
    series: Series = field(default_factory=Series)
    ensemble: str = "nvt"
    is_reference: bool = False
    radii: dict[str, float] = field(default_factory=dict)
    ranges: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    files: Sequence[str] = ()
    n_sites: int | None = None
    pressure_method: str = ""
    _whole: tuple[CGFrame, NDArray[np.float64]] | None = field(default=None, repr=False)

    def file_of(self, replica: int) -> str:
        """Name of the file of a replica; empty if it is not known."""
        return self.files[replica] if replica < len(self.files) else ""

    def sites(self) -> Topology:
        """The topology, of a system that has frames."""
        if self.topology is None:
            raise RuntimeError("a system without frames has no sites")
        return self.topology

    def whole(self, frame: CGFrame) -> NDArray[np.float64]:
        """Positions (n_sites, 3) of whole molecules, Å; made once for each frame.

        Raises:
            DataError: a molecule cannot be made whole.
        """
        if self._whole is None or self._whole[0] is not frame:
            positions = whole_positions(frame.topology, frame.positions, frame.cell)
            self._whole = (frame, positions)
        return self._whole[1]


class Observable(ABC):
    """One observable of one system.

    An object collects frames; what it shows is made from the plain record alone, by the class.

    Attributes:
        name: key of its record in analysis.json, and of its table.
        title: heading of its table in the report.
        part: of the report where it stands: ``structure``, ``state`` or ``motion``.
        headlines: names of `headline` with what they mean, columns of a table of many models.
        limit: name of the report's limit that its overlaps are held against; empty: none.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    part: ClassVar[str] = "structure"
    headlines: ClassVar[dict[str, str]] = {}
    limit: ClassVar[str] = ""

    def __init__(self, system: System) -> None:
        self.system = system

    def add(self, frame: CGFrame, replica: int = 0) -> None:
        """Take a frame; replicas come in order.

        Raises:
            DataError: the frame does not fit.
        """
        del frame, replica  # time series need no positions

    @abstractmethod
    def result(self) -> Record | None:
        """Plain data with errors; None where there is nothing to measure.

        Raises:
            DataError: too few samples, NaN.
        """

    def compare(self, reference: Self) -> Record | None:
        """How this system differs from the reference, after `result` of both; None: not at all."""
        return None

    @classmethod
    def headline(cls, comparison: Record) -> dict[str, float]:
        """Numbers for a table of many models: the worst of each kind."""
        return {}

    @classmethod
    def rows(cls, record: Record) -> list[Quantity]:
        """Its numbers in the table of the report."""
        return []

    @classmethod
    def compared_rows(cls, comparison: Record) -> list[Quantity]:
        """Numbers of the comparison in that table."""
        return []

    @classmethod
    def plots(cls, shown: Sequence[Shown]) -> list[Plot]:
        """Its figures; the reference comes first."""
        return []

    @classmethod
    def curves(cls, record: Record) -> dict[str, Sequence[float]]:
        """Columns of its CSV file, the common abscissa first; empty: no file."""
        return {}
