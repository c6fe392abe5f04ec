# SPDX-License-Identifier: GPL-2.0-or-later
"""A name stands for one thing: classes, modules and tables of words of cgpot."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / "cgpot"
FILES = sorted(p for p in ROOT.rglob("*.py") if "build" not in p.parts)
COMMANDS = ROOT / "cli"
"""A command's file has the name of the command, which its room may use too."""
TWICE = {"__init__", "facts"}
"""Modules that stand twice: facts of a training beside those of a report."""


def twice(found: dict[str, list[Path]]) -> dict[str, list[str]]:
    """The names with more than one file."""
    return {
        name: [str(p.relative_to(ROOT)) for p in paths]
        for name, paths in found.items()
        if len(paths) > 1
    }


def test_no_two_public_classes_have_one_name() -> None:
    found: dict[str, list[Path]] = defaultdict(list)
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(path)
    assert len(found) > 100
    assert twice(found) == {}


def test_no_two_modules_have_one_name() -> None:
    found: dict[str, list[Path]] = defaultdict(list)
    for path in FILES:
        if path.parent != COMMANDS:
            found[path.stem].append(path)
    double = twice(found)
    assert {name: paths for name, paths in double.items() if name not in TWICE} == {}
    assert set(double) == TWICE, "a name that no longer stands twice leaves the list"


def test_no_two_tables_of_words_have_one_name() -> None:
    """Constants that translate numbers to words."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)):
                continue
            if not all(
                isinstance(key, ast.Constant) and isinstance(key.value, int)
                for key in node.value.keys
            ):
                continue
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found[target.id].append(path)
    assert {"TERM_NAMES", "TERM_SECTIONS", "SECTION_OF_SPAN"} <= set(found)
    assert twice(found) == {}


def test_one_module_searches_for_neighbours() -> None:
    """matscipy and scipy's trees in `molecules.pairs` alone; freud for g(r) (`molecules.rdf`)."""
    found = {
        str(path.relative_to(ROOT))
        for path in FILES
        for library in ("matscipy", "KDTree", "ase.neighborlist")
        if library in path.read_text(encoding="utf-8")
    }
    assert found == {"molecules/pairs.py"}
