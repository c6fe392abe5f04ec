# SPDX-License-Identifier: GPL-2.0-or-later
"""One finished training run, shared by the tests of the stage."""

from __future__ import annotations

from pathlib import Path

import pytest
from training_systems import write_case

from cgpot.training.settings.train_settings import load_config
from cgpot.training.training_stage import Outcome, train


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.yaml of the shared run."""
    return write_case(tmp_path_factory.mktemp("case"))


@pytest.fixture(scope="session")
def trained(case: Path) -> Outcome:
    """The finished run."""
    return train(load_config(case), case.parent / "out", quiet=True)
