# SPDX-License-Identifier: GPL-2.0-or-later
"""Networks: their base, nequip's configuration, the training and what comes out."""
