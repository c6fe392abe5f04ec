# SPDX-License-Identifier: GPL-2.0-or-later
"""As much of `triton` and `triton.language` as our kernels use, by NumPy, one program at a time.

Enough to run the text of a kernel where Triton is not installed.  Reads and writes outside of an
array, or with a mask that is no mask, are errors.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np


class Scalar(np.ndarray):
    """Has Triton's `.to`; also for arrays."""

    def to(self, dtype: Any) -> Any:
        return self.astype(dtype).view(Scalar)


def _array(value: Any) -> Any:
    return np.asarray(value).view(Scalar)


class Pointer:
    """Into a flat array, with places relative to its first entry."""

    def __init__(self, values: np.ndarray, places: Any = 0) -> None:
        self.values, self.places = values, places

    def __add__(self, other: Any) -> Pointer:
        return Pointer(self.values, self.places + other)

    def found(self, mask: Any) -> tuple[Any, Any]:
        places = np.asarray(self.places)
        mask = np.broadcast_to(True if mask is None else np.asarray(mask), places.shape)
        assert mask.dtype == bool
        used = places[mask]
        assert used.size == 0 or (used.min() >= 0 and used.max() < len(self.values))
        return places, mask


class Language(ModuleType):
    """`triton.language`."""

    constexpr = int
    float32, float64, int64 = np.float32, np.float64, np.int64

    def __init__(self) -> None:
        super().__init__("triton.language")
        self.program = 0

    def program_id(self, axis: int) -> Any:
        assert axis == 0
        return _array(np.int32(self.program))

    def arange(self, first: int, last: int) -> Any:
        return _array(np.arange(first, last, dtype=np.int32))

    def zeros(self, shape: list[int], dtype: Any) -> Any:
        return _array(np.zeros(shape, dtype))

    def sqrt(self, value: Any) -> Any:
        return _array(np.sqrt(value))

    def where(self, condition: Any, a: Any, b: Any) -> Any:
        # numbers take the type of what stands beside them
        kinds = [x.dtype for x in (a, b) if isinstance(x, np.ndarray | np.generic)]
        return _array(np.where(condition, a, b).astype(np.result_type(*kinds)))

    def sum(self, value: Any, axis: int) -> Any:
        return _array(np.sum(value, axis=axis))

    def load(self, pointer: Pointer, mask: Any = None, other: Any = None) -> Any:
        places, used = pointer.found(mask)
        safe = np.where(used, places, 0)
        values = pointer.values[safe]
        return _array(values if mask is None else np.where(used, values, values.dtype.type(other)))

    def store(self, pointer: Pointer, value: Any, mask: Any = None) -> None:
        places, used = pointer.found(mask)
        pointer.values[places[used]] = np.broadcast_to(value, places.shape)[used]

    def atomic_add(self, pointer: Pointer, value: Any, mask: Any = None) -> None:
        places, used = pointer.found(mask)
        np.add.at(pointer.values, places[used], np.broadcast_to(value, places.shape)[used])


class Function:
    """What `triton.jit` makes of a function: takes tensors on the CPU."""

    def __init__(self, language: Language, function: Callable[..., None]) -> None:
        self.language, self.function = language, function

    def __getitem__(self, grid: tuple[int]) -> Callable[..., None]:
        def run(*arguments: Any, num_warps: int, **constants: Any) -> None:
            assert num_warps >= 1
            assert all(tensor.is_contiguous() for tensor in arguments)
            pointers = [Pointer(tensor.detach().view(-1).numpy()) for tensor in arguments]
            for self.language.program in range(grid[0]):
                self.function(*pointers, **constants)

        return run


@contextmanager
def stand_in() -> Iterator[None]:
    """Let `import triton` find this module's."""
    language, module = Language(), ModuleType("triton")
    module.jit = lambda function: Function(language, function)  # type: ignore[attr-defined]
    module.language = language  # type: ignore[attr-defined]
    before = {name: sys.modules.get(name) for name in ("triton", "triton.language")}
    sys.modules |= {"triton": module, "triton.language": language}
    try:
        yield
    finally:
        for name, old in before.items():
            if old is None:
                del sys.modules[name]
            else:
                sys.modules[name] = old
