# SPDX-License-Identifier: GPL-2.0-or-later
"""Finding, building and loading the plugin, and `cgpot doctor`."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cgpot.core import native
from cgpot.core.errors import InputError, ToolError
from cgpot.plugin import doctor, load, plugin_folder
from cgpot.plugin.plugin_build import ForeignLammps, build, find_compiler, lammps_release


def command(*arguments: str) -> Any:
    from cgpot.cli import doctor as doctor_command
    from cgpot.cli import plugin as plugin_command

    app = typer.Typer()
    plugin_command.register(app)
    doctor_command.register(app)
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def nothing_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(native.FOLDER_VARIABLE, str(tmp_path / "plugins"))
    return tmp_path / "plugins"


def test_up_to_date(plugin: Path) -> None:
    result = command("plugin", "build")
    assert result.stdout == f"up to date: {plugin}\n"
    assert command("plugin", "path").stdout == f"{plugin}\n"
    assert plugin_folder() == str(plugin.parent)
    information = json.loads((plugin.parent / "build.json").read_text())
    assert information["torch"] == native.package_version("torch")


def test_check_starts_lammps(plugin: Path) -> None:
    result = command("plugin", "check")
    assert result.stdout.startswith("LAMMPS (")
    assert str(plugin) in result.stdout


def test_the_library_is_not_in_the_source_tree(plugin: Path) -> None:
    assert native.SOURCE not in plugin.parents
    assert not list(native.SOURCE.rglob("*.so"))


def test_any_ingredient_changes_the_folder() -> None:
    from dataclasses import fields, replace

    now = native.ingredients()
    keys = {replace(now, **{f.name: "other"}).key() for f in fields(now)} | {now.key()}
    assert len(keys) == len(fields(now)) + 1


def test_plugin_folder_when_nothing_is_built(
    nothing_built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(plugin_folder())
    assert folder.is_dir()
    assert not list(folder.glob("*plugin.so"))
    assert "run `cgpot plugin build`" in capsys.readouterr().err
    assert native.built_plugin() is None


def test_plugin_folder_never_raises(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise RuntimeError("broken metadata")

    monkeypatch.setattr(native, "built_plugin", broken)
    assert Path(plugin_folder()).is_dir()
    assert "pair_style cgpot is not available: broken metadata" in capsys.readouterr().err


def test_plugin_folder_is_light() -> None:
    code = (
        "import sys, cgpot.plugin; cgpot.plugin.plugin_folder()\n"
        "heavy = {'torch', 'nequip', 'numpy', 'lammps', 'typer'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"


def test_lmp_runs_without_the_plugin(nothing_built: Path) -> None:
    result = subprocess.run(
        [str(Path(sys.executable).parent / "lmp"), "-log", "none"],
        input='print "alive"\n',
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0
    assert "\nalive\n" in result.stdout
    assert "cgpot plugin build" in result.stderr


def test_path_and_check_without_a_build(nothing_built: Path) -> None:
    for name in ("path", "check"):
        result = command("plugin", name)
        assert isinstance(result.exception, InputError)
        assert "is not built" in str(result.exception)


def test_load_without_a_build(nothing_built: Path) -> None:
    class Without:
        def has_style(self, category: str, name: str) -> bool:
            return False

    with pytest.raises(InputError, match="run `cgpot plugin build`"):
        load(Without())


def test_load_says_why_lammps_does_not_take_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "cgpotplugin.so"
    broken.write_text("no library")

    class Refusing:
        def has_style(self, category: str, name: str) -> bool:
            return False

        def command(self, text: str) -> None:
            assert text == f"plugin load {broken}"

    monkeypatch.setattr(native, "built_plugin", lambda: broken)
    with pytest.raises(ToolError, match=r"cgpotplugin.so: .*file too short|invalid ELF header"):
        load(Refusing())


def test_loader_reasons(plugin: Path, tmp_path: Path) -> None:
    assert native.loader_reason(plugin) == ""
    other = Path(native.mpi_file(native.MPI_LIBRARY) or "")
    assert native.loader_reason(other) == "it has no symbol lammpsplugin_init"
    assert "cannot open shared object file" in native.loader_reason(tmp_path / "none.so")
    with pytest.raises(ToolError, match=r"LAMMPS does not load the plugin: .*cannot open shared"):
        native.check_loads(tmp_path / "none" / "cgpotplugin.so")


@pytest.mark.parametrize(
    ("package", "release"),
    [
        ("2025.7.22.4.0", "22 Jul 2025"),
        ("2024.8.29", "29 Aug 2024"),
        ("2026.2.1.0.0", "1 Feb 2026"),
    ],
)
def test_lammps_release(package: str, release: str) -> None:
    assert lammps_release(package) == release


@pytest.mark.parametrize("package", ["stable", "2025.13.1", "7"])
def test_lammps_release_of_a_strange_version(package: str) -> None:
    with pytest.raises(InputError, match=f"'{package}'.*not of the form year.month.day"):
        lammps_release(package)


def test_compiler_errors_are_shown(nothing_built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = nothing_built.parent / "src"
    broken.mkdir()
    (broken / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(x CXX)\n"
        "add_library(cgpotplugin MODULE a.cpp)"
    )
    (broken / "a.cpp").write_text("int broken( { return 0; }\n")
    monkeypatch.setattr(native, "SOURCE", broken)
    with pytest.raises(ToolError, match=r"cmake ended with status 1:[\s\S]*a\.cpp:1:[\s\S]*error:"):
        build()
    assert native.built_plugin() is None
    assert not list(nothing_built.rglob("*.so"))


def test_no_compiler(nothing_built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert find_compiler() is None
    with pytest.raises(ToolError, match="no C\\+\\+ compiler found"):
        build()


def test_no_folder_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(native.FOLDER_VARIABLE, str(tmp_path / "file" / "below"))
    with pytest.raises(InputError, match=r"no folder for the plugin can be written .*below"):
        build()


def test_options_for_another_lammps_need_its_headers() -> None:
    result = command("plugin", "build", "--output", "x")
    assert result.exit_code == 2
    assert "add --lammps-include" in result.output


def test_another_lammps_without_headers(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"holds no pair\.h: set it to"):
        build(foreign=ForeignLammps(include=tmp_path, output=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_build_by_hand_for_another_lammps(tmp_path: Path) -> None:
    """The CMake project alone, for a LAMMPS named by its folders."""
    header = native.mpi_file("mpi.h")
    assert header is not None
    result = build(
        foreign=ForeignLammps(
            include=native.package_folder("lammps") / "include" / "lammps",
            mpi_include=header.parent,
            version="22 Jul 2025",
            output=tmp_path / "out",
        )
    )
    assert result.library == tmp_path / "out" / "cgpotplugin.so"
    assert native.check_loads(result.library).startswith("LAMMPS (")


def test_doctor(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAMMPS_PLUGIN_PATH", raising=False)
    result = command("doctor", "--json")
    checks = json.loads(result.stdout)
    assert [c["name"] for c in checks if c["status"] == "fail"] == []
    assert result.exit_code == 0
    names = {c["name"] for c in checks}
    assert {"torch", "nequip", "lammps", "mpi", "compiler", "cmake", "plugin loads", "gpu"} <= names


def test_doctor_fails_and_says_what_to_do(
    nothing_built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMMPS_PLUGIN_PATH", "/no/such/folder")
    monkeypatch.setattr(doctor, "check_gpu", lambda: doctor.Check("gpu", "ok", "none"))
    result = command("doctor")
    assert result.exit_code == 1
    assert "cgpot plugin build" in result.stdout
    assert "3 check(s) failed: plugin built, plugin loads, LAMMPS_PLUGIN_PATH" in result.output


@pytest.mark.parametrize(
    ("version", "wanted", "inside"),
    [
        ("2.13.0+cpu", ">=2.11,<2.14", True),
        ("2.14.0", ">=2.11,<2.14", False),
        ("2.10.1", ">=2.11,<2.14", False),
        ("2.11", ">=2.11.0", True),
        ("0.19.1", ">=0.19.1,<0.20", True),
        ("2025.7.22.4.0", ">=2025.7.22.4.0", True),
        ("2024.8.29", ">=2025.7.22.4.0", False),
        ("1.5", "==1.5.0,!=1.6,<=2,>1", True),
    ],
)
def test_version_ranges(version: str, wanted: str, inside: bool) -> None:
    assert doctor.in_range(version, wanted) is inside


def test_wrong_range() -> None:
    with pytest.raises(ValueError, match="not a version range: '~=1'"):
        doctor.in_range("1.0", "~=1")


def test_package_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = doctor.check_package("no-such-package", ">=1")
    assert (missing.status, missing.found) == ("fail", "not installed")
    assert missing.advice == "pip install 'no-such-package>=1'"
    monkeypatch.setattr(native, "package_version", lambda name: "2.10.0")
    torch = doctor.check_package("torch", ">=2.11,<2.14")
    assert torch.status == "fail"
    assert "torch 2.10 compiles wrong CPU models" in torch.advice


def test_mpi_check(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_mpi().status == "ok"
    monkeypatch.setattr(native, "mpi_file", lambda name: None)
    check = doctor.check_mpi()
    assert (check.status, check.found) == ("fail", "no libmpi.so.12")
    assert "lammps[mpi]" in check.advice


def test_compiler_check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert doctor.check_compiler().status == "ok"
    old = tmp_path / "old-compiler"
    old.write_text(
        "#!/bin/sh\n[ $1 = --version ] && echo old 1.0 && exit 0\necho too old >&2; exit 1\n"
    )
    old.chmod(old.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CXX", str(old))
    check = doctor.check_compiler()
    assert check.status == "fail"
    assert check.found == f"{old}: old 1.0; no C++20: too old"
    monkeypatch.setenv("CXX", "nowhere")
    assert doctor.check_compiler().found == "CXX=nowhere is no program"


def test_cmake_check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert doctor.check_cmake().status == "ok"
    old = tmp_path / "cmake"
    old.write_text("#!/bin/sh\necho cmake version 3.16.3\n")
    old.chmod(old.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(doctor, "find_tool", lambda name: str(old))
    assert doctor.check_cmake().advice == "version 3.20 or later is needed: pip install cmake"
    monkeypatch.setattr(doctor, "find_tool", lambda name: None)
    assert doctor.check_cmake().found == "none"


def test_entry_point_check(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_entry_point().status == "ok"
    monkeypatch.setattr(doctor.importlib.metadata, "entry_points", lambda group: [])
    check = doctor.check_entry_point()
    assert check.status == "fail"
    assert "pip install -e ." in check.advice


def test_builds_for_other_versions_are_mentioned(nothing_built: Path) -> None:
    (nothing_built / "0123").mkdir(parents=True)
    (nothing_built / "0123" / "cgpotplugin.so").write_text("")
    check = doctor.check_built()
    assert check.status == "fail"
    assert check.found.startswith("1 build(s) for other versions of torch, lammps")


def test_plugin_path_checks(plugin: Path, tmp_path: Path) -> None:
    def one(value: str) -> doctor.Check:
        (check,) = doctor.check_plugin_path(value)
        return check

    assert one("").status == "ok"
    assert one(str(plugin.parent)).status == "ok"
    missing = one(str(tmp_path / "missing"))
    assert missing.status == "fail"
    assert missing.found.endswith("missing does not exist")
    assert one(str(plugin)).found == f"{plugin} is a file"
    empty = one(str(tmp_path))
    assert (empty.status, empty.found) == ("warn", f"{tmp_path} holds no file *plugin.so")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "cgpotplugin.so").write_text("")
    check = one(str(broken))
    assert check.status == "fail"
    assert "does not load: " in check.found
    stale = tmp_path / "stale"
    stale.mkdir()
    for name in ("cgpotplugin.so", "cgpotops.so"):
        (stale / name).write_bytes(plugin.with_name(name).read_bytes())
    check = one(str(stale))
    assert check.status == "warn"
    assert "another build than the current one" in check.found
    several = doctor.check_plugin_path(f"{plugin.parent}::{tmp_path / 'missing'}")
    assert [c.status for c in several] == ["ok", "warn", "fail"]


def test_environment_for_lammps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/a")
    environment = native.lammps_environment("/b")
    library = native.mpi_file(native.MPI_LIBRARY)
    assert library is not None
    assert environment["LD_LIBRARY_PATH"] == f"/a:{library.parent}"
    assert environment["LAMMPS_PLUGIN_PATH"] == "/b"
    assert os.environ.get("LAMMPS_PLUGIN_PATH") != "/b"
