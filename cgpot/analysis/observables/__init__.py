# SPDX-License-Identifier: GPL-2.0-or-later
"""One file for each observable; `registry` lists them, everything else iterates over that list."""
