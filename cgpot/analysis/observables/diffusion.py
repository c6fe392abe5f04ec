# SPDX-License-Identifier: GPL-2.0-or-later
"""Self-diffusion of all sites, and of the mass centres of whole molecules by species."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgpot.analysis.observables.observable import Observable, Record, System
from cgpot.analysis.observables.plot import AA, Curve, Plot, Quantity, Shown
from cgpot.analysis.unwrap import Unwrapper, displacement
from cgpot.core.errors import DataError
from cgpot.molecules.frame import CGFrame
from cgpot.molecules.topology import Topology


class Diffusion(Observable):
    """Diffusion coefficients from the mean square displacement."""

    name = "diffusion"
    title = "Diffusion"
    part = "motion"

    def __init__(self, system: System) -> None:
        super().__init__(system)
        self._replicas: list[Unwrapper] = []

    def add(self, frame: CGFrame, replica: int = 0) -> None:
        """Follow the sites into the next frame."""
        while len(self._replicas) <= replica:
            self._replicas.append(Unwrapper(file=self.system.file_of(len(self._replicas))))
        self._replicas[replica].add(frame)

    def result(self) -> Record | None:
        """Of all sites, and under ``species`` of the molecules' centres by species: value and
        error over the replicas in m^2/s, exponent, and the MSD of the first replica.

        None where it was refused, with a note why.
        """
        sites: list[dict[str, Any]] = []
        species: dict[str, list[dict[str, Any]]] = {}
        topology = self.system.sites()
        problem = "there are no frames"
        for unwrapper in self._replicas:
            try:
                times, path = unwrapper.paths()
            except DataError as err:
                problem = str(err)
                continue
            sites.append(displacement(times, path))
            for name, centres in centre_paths(topology, path).items():
                species.setdefault(name, []).append(displacement(times, centres))
        if not sites:
            self.system.notes.append(f"no diffusion coefficient: {problem}")
            return None
        return {
            **_summary(sites),
            "species": {name: _summary(found) for name, found in species.items()},
        }

    @classmethod
    def rows(cls, record: Record) -> list[Quantity]:
        """D of all sites and of every species."""
        found = [("All beads", record), *record["species"].items()]
        return [
            Quantity(f"{name}, D", 1e9 * item["value"], 1e9 * item["error"], "10⁻⁹ m²/s")
            for name, item in found
        ]

    @classmethod
    def plots(cls, shown: Sequence[Shown]) -> list[Plot]:
        """The mean square displacement of all sites, and of the centres of every species.

        None without a run beside the reference.
        """
        if all(s.role == AA for s in shown):
            return []
        figures = [_plot("msd", "Diffusion", [(s, s.record) for s in shown])]
        topmost = shown[0].record
        names = list(topmost["species"])
        for name in names:
            centres = topmost["species"][name]["msd_A2"]
            if len(names) == 1 and np.allclose(centres, topmost["msd_A2"]):
                continue  # molecules of one site: the figure would be the same
            own = [(s, s.record["species"][name]) for s in shown if name in s.record["species"]]
            figures.append(_plot(f"msd-{name}", f"Diffusion of the centres of {name}", own))
        return figures


def centre_paths(topology: Topology, path: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Paths (n, n_molecules, 3) of the molecules' mass centres by species.

    They are seen from the mass centre of all sites.

    Args:
        topology: the sites.
        path: (n, n_sites, 3) displacements of the sites, Å.
    """
    masses = topology.masses
    if np.ptp(masses) > 0:
        drift = np.einsum("s,tsa->ta", masses / masses.sum(), path)
        path = path - drift[:, None, :].astype(np.float32)
    found = {}
    for kind, sites in zip(topology.species, topology.species_sites, strict=True):
        if len(sites) == 0:
            continue
        weights = masses[sites[0]] / masses[sites[0]].sum()
        centres = sum(w * path[:, sites[:, k]] for k, w in enumerate(weights))
        found[kind.name] = np.asarray(centres, dtype=np.float32)
    return found


def _summary(replicas: list[dict[str, Any]]) -> Record:
    values = np.array([d["diffusion_m2_s"] for d in replicas])
    errors = np.array([d["diffusion_error_m2_s"] for d in replicas])
    error = float(np.sqrt((errors**2).sum())) / len(values)
    if len(values) > 1:
        error = max(error, float(values.std(ddof=1)) / float(np.sqrt(len(values))))
    first = replicas[0]
    return {
        "value": float(values.mean()),
        "error": error,
        "unit": "m2/s",
        "exponent": first["exponent"],
        "lag_ps": first["lag_ps"],
        "msd_A2": first["msd_A2"],
        "msd_error_A2": first["error_A2"],
    }


def _plot(key: str, title: str, shown: Sequence[tuple[Shown, Record]]) -> Plot:
    curves = [
        Curve(
            system.role,
            system.name.removesuffix(", mapped"),
            item["lag_ps"],
            item["msd_A2"],
            value=1e9 * item["value"],
            error=1e9 * item["error"],
        )
        for system, item in shown
    ]
    alt = "Mean square displacement; D in 1e-9 m²/s: " + "; ".join(
        f"{c.name} {c.value:.3g} ± {c.error:.1g}" for c in curves
    )
    return Plot(
        key=key,
        title=title,
        alt=alt + ".",
        caption="A CG model is expected to diffuse faster: the lost atoms give no friction. No "
        "finite-size correction; not part of the verdict.",
        x_label="time / ps",
        y_label="mean square displacement / Å²",
        curves=curves,
        logarithmic=True,
        legend="D / 10⁻⁹ m²/s",
    )
