# SPDX-License-Identifier: GPL-2.0-or-later
"""Other programs' file formats: one reader and one writer for each."""
