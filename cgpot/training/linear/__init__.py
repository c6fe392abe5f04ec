# SPDX-License-Identifier: GPL-2.0-or-later
"""Linear force matching: potentials that are sums of basis functions, by least squares."""
