# SPDX-License-Identifier: GPL-2.0-or-later
"""YAML: unknown keys refused, every error names the file and the key."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from cgpot.core.config import StrictModel, load_yaml, load_yaml_dict, validate
from cgpot.core.errors import ConfigError, InputError


class Widths(StrictModel):
    layers: int
    features: int = 16


class Site(StrictModel):
    name: str
    atoms: tuple[int, ...]


class Config(StrictModel):
    cutoff: float
    widths: Widths
    sites: tuple[Site, ...] = ()
    extra: Widths | None = None


GOOD = """\
cutoff: 10.0
widths: {layers: 2}
sites:
  - {name: A, atoms: [0, 1]}
  - {name: B, atoms: [2]}
extra: {layers: 1, features: 8}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    p = tmp_path / "train.yaml"
    p.write_text(GOOD)
    return p


def test_good(path: Path) -> None:
    config = load_yaml(path, Config)
    assert config.widths.features == 16
    assert config.sites[1].name == "B"
    with pytest.raises(ValidationError, match="frozen"):
        config.cutoff = 3.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cutoff:", "cuttoff:", r"key 'cuttoff': unknown key; did you mean 'cutoff'\?"),
        ("cutoff: 10.0", "", r"key 'cutoff': the key is missing"),
        ("cutoff: 10.0", "cutoff: long", r"key 'cutoff': .*number.*found 'long'"),
        ("cutoff: 10.0", "cutoff: .nan", r"key 'cutoff': .*finite.*found nan"),
        ("cutoff: 10.0", "cutoff: .inf", r"key 'cutoff': .*finite.*found inf"),
        ("layers: 2", "layers: 2.5", r"key 'widths.layers': .*integer.*found 2.5"),
        ("layers: 2", "layers: 2, depth: 3", r"'widths.depth': unknown key \(known: features, la"),
        ("name: B", "nam: B", r"key 'sites.1.nam': unknown key; did you mean 'name'\?"),
        ("features: 8", "feature: 8", r"key 'extra.feature': .*did you mean 'features'\?"),
        ("[0, 1]", "[0, x]", r"key 'sites.0.atoms.1': .*found 'x'"),
        ("cutoff: 10.0", "cutoff: a\nfoo: 1", r"'foo': unknown key.* \(and 1 more\)"),
    ],
)
def test_wrong_value(path: Path, old: str, new: str, message: str) -> None:
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigError, match=rf"train\.yaml, .*{message}"):
        load_yaml(path, Config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\n", r"not valid YAML: .*"),
        ("- 1\n- 2\n", "expected a mapping of keys to values, found list"),
        ("just words\n", "expected a mapping of keys to values, found str"),
        ("# only a comment\n", "expected a mapping of keys to values, found NoneType"),
        ("a: 1\nb: 2\na: 3\n", r"duplicate key 'a'(.|\n)*line 3"),
        ("x: {a: 1, a: 2}\n", "duplicate key 'a'"),
        ("x: !!python/object/apply:os.system [ls]\n", "could not determine a constructor"),
    ],
)
def test_not_a_mapping(path: Path, text: str, message: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"train\.yaml: (.|\n)*{message}"):
        load_yaml_dict(path)


def test_missing_and_empty(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.yaml: no such YAML file"):
        load_yaml(tmp_path / "no.yaml", Config)
    (tmp_path / "empty.yaml").touch()
    with pytest.raises(InputError, match=r"empty\.yaml: the YAML file is empty"):
        load_yaml(tmp_path / "empty.yaml", Config)


def test_not_text(path: Path) -> None:
    path.write_bytes(b"cutoff: \xff\n")
    with pytest.raises(ConfigError, match=r"train\.yaml: not UTF-8 text"):
        load_yaml(path, Config)


def test_validate_plain_data() -> None:
    assert validate(Config, {"cutoff": 1, "widths": {"layers": 1}}).cutoff == 1.0
    with pytest.raises(ConfigError, match=r"^key 'widths': the key is missing"):
        validate(Config, {"cutoff": 1})
    with pytest.raises(ConfigError, match=r"found list"):
        validate(Config, [1])
