# SPDX-License-Identifier: GPL-2.0-or-later
"""The sites of a coarse-grained system: topology, cell, frames, pairs and g(r), and their files."""
