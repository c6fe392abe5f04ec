# SPDX-License-Identifier: GPL-2.0-or-later
"""Ensembles: several trainings of one model, their mean and their spread."""
