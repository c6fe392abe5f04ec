# SPDX-License-Identifier: GPL-2.0-or-later
"""Parts of the benchmark of speed and scale (`workflows/benchmarks/speed.py`)."""
