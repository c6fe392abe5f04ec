# SPDX-License-Identifier: GPL-2.0-or-later
"""Importing this module makes the operators of :mod:`cgpot.deploy.operators` known to torch.

NequIP imports it for compiled models that call them (`enable_cgpotKernels`).  Without the built
library the operators are plain torch code: right, and slow.
"""

from __future__ import annotations

from cgpot.core.native import built_operators
from cgpot.deploy.operators import load

load(built_operators())
