# SPDX-License-Identifier: GPL-2.0-or-later
"""cgpot: from an atomistic trajectory to a validated coarse-grained potential in LAMMPS."""

__version__ = "0.1.0"
