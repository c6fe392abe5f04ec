# SPDX-License-Identifier: GPL-2.0-or-later
"""Observables of mapped atomistic data sets and of CG runs, by one code and on one set of bins."""
