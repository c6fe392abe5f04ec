# SPDX-License-Identifier: GPL-2.0-or-later
"""A model on frames: predictions, errors and pictures."""
