# SPDX-License-Identifier: GPL-2.0-or-later
"""From atomistic trajectories to coarse-grained frames with forces and virial."""
