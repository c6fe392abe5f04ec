# SPDX-License-Identifier: GPL-2.0-or-later
"""The file train.yaml: its sections and their defaults."""
