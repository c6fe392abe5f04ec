# SPDX-License-Identifier: GPL-2.0-or-later
"""Which frames of a data set a training uses: fewer of them, or a bootstrap sample.

`CGDataset` in nequip's configuration and the linear fits choose with the same function, so that
all of them see the same frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cgpot.core.errors import ConfigError

BOOTSTRAP_BLOCKS = 20
Frame = TypeVar("Frame")


def choose(
    total: int, frames: int | None = None, bootstrap: int | None = None
) -> NDArray[np.int64]:
    """Indices of the frames that are used, ascending (repeated in a bootstrap sample).

    Args:
        total: frames in the file.
        frames: number to use, spread evenly over the file; None: all.
        bootstrap: seed of a resampling with replacement, by contiguous blocks because
            successive frames are correlated (non-overlapping blocks: Carlstein, Ann. Stat. 14,
            1171 (1986)): as many draws as blocks, at most `BOOTSTRAP_BLOCKS`; None: none.

    Raises:
        ConfigError: more frames asked for than there are.
    """
    if frames is not None and frames > total:
        raise ConfigError(
            f"{frames} frames are asked for, the training set holds {total}", key="data.frames"
        )
    indices = np.arange(total, dtype=np.int64)
    if frames is not None:
        # centres of equal parts: one frame is the middle one, all frames are all
        indices = np.floor((np.arange(frames) + 0.5) * total / frames).astype(np.int64)
    if bootstrap is not None and len(indices):
        blocks = np.array_split(indices, min(BOOTSTRAP_BLOCKS, len(indices)))
        drawn = np.random.default_rng(bootstrap).integers(0, len(blocks), len(blocks))
        indices = np.concatenate([blocks[k] for k in np.sort(drawn)])
    return indices


def select(
    items: Sequence[Frame], frames: int | None = None, bootstrap: int | None = None
) -> list[Frame]:
    """The chosen items themselves (`choose`).

    Raises:
        ConfigError: more frames asked for than there are.
    """
    return [items[int(k)] for k in choose(len(items), frames, bootstrap)]
