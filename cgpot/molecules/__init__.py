# SPDX-License-Identifier: GPL-2.0-or-later
"""Molecules of coarse-grained sites: species, topology, whole molecules in a periodic box."""
