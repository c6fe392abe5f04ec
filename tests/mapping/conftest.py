# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

BENZENE = Path(__file__).parents[2] / "workflows" / "systems" / "benzene"


@pytest.fixture
def raw() -> Path:
    """The shipped sample of the atomistic benzene runs."""
    return BENZENE / "data" / "raw"


@pytest.fixture
def mapping() -> Path:
    return BENZENE / "mapping.yaml"
