# SPDX-License-Identifier: GPL-2.0-or-later
"""Studies: many models on the same data, each trained, deployed, simulated and judged alike."""
