# SPDX-License-Identifier: GPL-2.0-or-later
"""Deployment: archive, compiled model, sidecar, and the proof that they agree."""
