# SPDX-License-Identifier: GPL-2.0-or-later
"""Training: pair base by linear force matching, network by `nequip-train`."""
