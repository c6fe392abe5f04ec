# SPDX-License-Identifier: GPL-2.0-or-later
"""Distillation: a student learns from labels without noise."""
