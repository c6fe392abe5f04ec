# SPDX-License-Identifier: GPL-2.0-or-later
"""Active learning: configurations that go back to the atomistic engine."""
