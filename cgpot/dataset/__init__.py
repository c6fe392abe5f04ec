# SPDX-License-Identifier: GPL-2.0-or-later
"""Mapped frames to training, validation and test sets, with a report on the labels."""
