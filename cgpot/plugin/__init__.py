# SPDX-License-Identifier: GPL-2.0-or-later
"""The LAMMPS plugin: `pair_style cgpot`."""


def plugin_folder() -> str:
    """Folder with the built plugin (for the entry point group ``lammps.plugins``)."""
    return ""
