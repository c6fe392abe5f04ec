# SPDX-License-Identifier: GPL-2.0-or-later
"""One trained and deployed model (one compilation), shared by the tests of the stage."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "training"))

from training_systems import write_case

from cgpot.deploy.deployment import Deployment, deploy
from cgpot.training.settings.train_settings import load_config
from cgpot.training.training_stage import train


@pytest.fixture(scope="session")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of a short training in double precision."""
    path = write_case(
        tmp_path_factory.mktemp("deploy"),
        model={"dtype": "float64", "features": 2, "layers": 1},
        prior={"type": "spline", "spacing": 0.5},
        optimiser={"epochs": 1},
    )
    train(load_config(path), path.parent / "train", quiet=True)
    return path.parent / "train"


@pytest.fixture(scope="session")
def deployed(training: Path) -> Deployment:
    """The deployed model, with the kernels of the built plugin."""
    from cgpot.plugin.plugin_build import build

    build()
    return deploy(training, training.parent / "deploy", quiet=True)
