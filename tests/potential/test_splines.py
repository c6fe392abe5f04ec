# SPDX-License-Identifier: GPL-2.0-or-later
import numpy as np
import pytest

from cgpot.core.errors import InputError
from cgpot.core.files import read_json, write_json
from cgpot.potential.splines import PairTable, basis, basis_derivative, pair_index


@pytest.fixture
def table():
    rng = np.random.default_rng(3)
    coefficients = rng.normal(size=(3, 23))
    coefficients[:, -3:] = 0.0
    return PairTable(("A", "B"), 8.0, coefficients, {"note": "random"})


def test_basis_is_a_partition_of_unity():
    t = np.linspace(0, 1, 11)
    np.testing.assert_allclose(basis(t).sum(axis=0), 1.0, atol=1e-14)
    np.testing.assert_allclose(basis_derivative(t).sum(axis=0), 0.0, atol=1e-14)


def test_table_equals_scipy_b_spline(table):
    from scipy.interpolate import BSpline

    h = table.spacing
    knots = h * np.arange(-3, table.intervals + 4)
    reference = BSpline(knots, table.coefficients[1], 3)
    r = np.linspace(0.01, 7.99, 97)
    np.testing.assert_allclose(table.energy(r, 0, 1), reference(r), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(table.force(r, 1, 0), -reference(r, 1), rtol=1e-11, atol=1e-12)


def test_table_ends_smoothly(table):
    r = np.array([7.999999, 8.0, 9.0])
    assert np.abs(table.energy(r)).max() < 1e-15
    assert np.abs(table.force(r)).max() < 1e-10


def test_pair_index_is_symmetric():
    index = pair_index(3)
    np.testing.assert_array_equal(index, index.T)
    assert sorted(index[np.triu_indices(3)]) == list(range(6))


def test_round_trip(table, tmp_path):
    again = PairTable.read(table.write(tmp_path / "pair.json"))
    np.testing.assert_array_equal(again.coefficients, table.coefficients)
    assert again.type_names == ("A", "B")
    assert again.r_max == 8.0
    assert again.info == {"note": "random"}


def test_read_refuses_another_format(tmp_path):
    with pytest.raises(InputError, match=r"pair\.json, key 'format': expected a pair table"):
        PairTable.read(write_json(tmp_path / "pair.json", {"format": "x"}))


def test_read_names_the_missing_key(table, tmp_path):
    path = table.write(tmp_path / "pair.json")
    record = read_json(path)
    del record["r_max_A"]
    write_json(path, record)
    with pytest.raises(InputError, match=r"key 'r_max_A': the key is missing"):
        PairTable.read(path)


def test_read_names_the_pair_with_too_few_coefficients(table, tmp_path):
    path = table.write(tmp_path / "pair.json")
    record = read_json(path)
    record["pairs"]["A-B"]["coefficients_eV"].pop()
    write_json(path, record)
    with pytest.raises(InputError, match=r"key 'A-B': expected 23 coefficients, found 22"):
        PairTable.read(path)
