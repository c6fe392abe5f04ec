# SPDX-License-Identifier: GPL-2.0-or-later
"""What every stage may use: units, names, errors, files, manifests, frames and statistics."""
