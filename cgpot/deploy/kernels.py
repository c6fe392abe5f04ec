# SPDX-License-Identifier: GPL-2.0-or-later
"""Importing this module makes the operators of :mod:`cgpot.deploy.operators` known to torch.

NequIP imports it for compiled models that call them (`enable_cgpotKernels`).  Compiled code cannot
do with plain torch code in their place (it runs without autograd): the library must be built.
"""

from __future__ import annotations

from cgpot.core.errors import ToolError
from cgpot.core.native import built_operators
from cgpot.deploy.operators import load


def load_library() -> None:
    """Load the built operators.

    Raises:
        ToolError: they are not built.
    """
    library = built_operators()
    if library is None:
        raise ToolError("the operators of cgpot are not built; run 'cgpot plugin build' first")
    if not load(library):
        raise ToolError("the operators were loaded as plain torch code before")


load_library()
