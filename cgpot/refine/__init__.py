# SPDX-License-Identifier: GPL-2.0-or-later
"""Refinement of a trained potential on g(r) and pressure of its own CG fluid."""
