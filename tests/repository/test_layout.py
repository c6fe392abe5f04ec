# SPDX-License-Identifier: GPL-2.0-or-later
"""The repository as a whole: layout, versions, pins, and what the text must not say."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import cgpot

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAX_FILE_BYTES = 16_000_000


def tracked() -> list[Path]:
    """Files under version control; in an unpacked archive, all that is not built or cached."""
    if (ROOT / ".git").exists():
        found = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        return [p for name in found.stdout.split("\0") if name and (p := ROOT / name).is_file()]
    skip = re.compile(
        r"(^|/)(\.venv|build|runs|dist|\.git|__pycache__|[^/]*\.egg-info|\.\w+_cache)/"
    )
    return [
        p
        for p in ROOT.rglob("*")
        if p.is_file() and not skip.search(str(p.relative_to(ROOT)) + "/")
    ]


FILES = tracked()


@pytest.mark.parametrize(
    "name",
    [
        "README.md", "CHANGELOG.md", "LICENSE", "Makefile", "pyproject.toml", ".ci/run",
        "requirements.txt", "requirements-dev.txt", "requirements-lock.txt", "cgpot/py.typed",
        "workflows/run.py", "workflows/systems/benzene/demo.yaml",
        "workflows/systems/benzene/benzene.yaml", "workflows/systems/benzene/mapping.yaml",
    ],
)  # fmt: skip
def test_stands_where_it_should(name: str) -> None:
    assert ROOT / name in FILES


def test_no_file_is_too_large() -> None:
    sizes = {str(p.relative_to(ROOT)): p.stat().st_size for p in FILES}
    assert {n: s for n, s in sizes.items() if s > MAX_FILE_BYTES} == {}


def test_no_build_output_is_tracked() -> None:
    odd = re.compile(r"(\.so|\.o|\.pyc|\.pt2|\.zip|\.ckpt|~|\.orig|\.rej)$|/#[^/]*#$")
    names = [str(p.relative_to(ROOT)) for p in FILES]
    assert [n for n in names if odd.search(n)] == []


def test_license() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "GNU GENERAL PUBLIC LICENSE" in text
    assert "Version 2, June 1991" in text
    assert PROJECT["license"] == "GPL-2.0-or-later"


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if p.suffix in {".py", ".cpp", ".h"}],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_every_source_states_its_license(path: Path) -> None:
    head = path.read_text(encoding="utf-8").split("\n", 3)[:3]
    assert any("SPDX-License-Identifier: GPL-2.0-or-later" in line for line in head)


def test_version_is_one() -> None:
    assert PROJECT["version"] == cgpot.__version__
    text = (ROOT / "CHANGELOG.md").read_text()
    releases = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", text, re.MULTILINE)
    assert releases[0] == cgpot.__version__


def test_changelog_keeps_its_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "keepachangelog.com" in text
    sections = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert sections <= {
        "Added", "Changed", "Deprecated", "Removed", "Fixed", "Security", "Numbers that change",
    }  # fmt: skip
    for release in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        assert re.match(r"\[(Unreleased|\d+\.\d+\.\d+)\]( - \d{4}-\d\d-\d\d)?\n", release)
        if not release.startswith("[Unreleased]"):
            assert "### Numbers that change" in release


def pins(name: str) -> dict[str, str]:
    """Package -> version of a requirements file, every line being an exact pin."""
    found: dict[str, str] = {}
    for line in (ROOT / name).read_text().splitlines():
        line = line.split("#")[0].strip()
        if not line or line.startswith("-r "):
            continue
        requirement = Requirement(line)
        exact = re.fullmatch(r"==([^*]+)", str(requirement.specifier))
        assert exact, f"{name}: {line!r} is no exact pin"
        found[canonicalize_name(requirement.name)] = exact[1]
    return found


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("requirements.txt", PROJECT["dependencies"]),
        ("requirements-dev.txt", PROJECT["optional-dependencies"]["dev"]),
    ],
)
def test_pins_fit_pyproject(file: str, wanted: list[str]) -> None:
    versions = pins(file)
    for line in wanted:
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        assert name in versions, f"{file} does not pin {name}"
        assert requirement.specifier.contains(versions[name]), f"{file}: {name}"


def test_lock_fits_the_pins() -> None:
    lock = pins("requirements-lock.txt")
    for file in ("requirements.txt", "requirements-dev.txt"):
        for name, version in pins(file).items():
            assert lock.get(name) == version, f"requirements-lock.txt: {name}; run `make lock`"


WORKPLACE = re.compile(r"(?<![\w/])/work/|/root/|/home/\w")
HOSTS = re.compile(r"pypi\.org|pythonhosted\.org|download\.pytorch\.org|conda\.anaconda\.org")
WORDS = re.compile(r"\b(helpers?|(?<!-)agents?|sessions?|workplace|the lead)\b", re.IGNORECASE)


def prose(path: Path) -> list[tuple[int, str]]:
    """Numbered lines that people read: all of a text, comments and docstrings of a program."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return list(enumerate(text.splitlines(), 1))
    found = [
        (token.start[0], token.string)
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    ]
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, kinds) and (doc := ast.get_docstring(node)):
            found.append((getattr(node, "lineno", 1), doc))
    return found


TEXTS = [
    p
    for p in FILES
    if p.suffix in {".py", ".md", ".yaml", ".yml", ".toml", ".txt", ".cpp", ".h", ".j2", ".css",
                    ".mk", ".lmp", ".mdp", ".sh", ""}
    and p.name not in {"LICENSE"}
    and p != Path(__file__).resolve()
]  # fmt: skip


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_project_speaks_of_itself_alone(path: Path) -> None:
    whole = path.read_text(encoding="utf-8").splitlines()
    odd = [(i, x) for i, x in enumerate(whole, 1) if WORKPLACE.search(x) or HOSTS.search(x)]
    odd += [(i, x) for i, x in prose(path) if WORDS.search(x)]
    assert odd == []
