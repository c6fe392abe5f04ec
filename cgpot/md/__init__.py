# SPDX-License-Identifier: GPL-2.0-or-later
"""CG molecular dynamics in LAMMPS: data files, decks, runs, restarts, logs and dumps."""

from cgpot.md.aa_speed import aa_speed

__all__ = ["aa_speed"]
