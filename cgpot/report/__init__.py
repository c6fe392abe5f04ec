# SPDX-License-Identifier: GPL-2.0-or-later
"""One HTML page, JSON and CSV from the files of the other stages; nothing is computed anew."""
