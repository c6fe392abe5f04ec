# SPDX-License-Identifier: GPL-2.0-or-later
"""Model modifiers of NequIP that tabulate radial functions, for any model that NequIP loads.

Command line::

    nequip-compile model.nequip.zip model.nequip.pt2 --mode aotinductor --device cpu \
        --target ase --modifiers enable_cgpotKernels

NequIP finds modifiers in the classes of a model's modules; those of an archive are the archive's
own.  So that these are found for every model, archives and checkpoints alike, they are added to
what `nequip.model.modify_utils` lists for a complete model.

The entry point ``nequip.extension`` loads this module while nequip itself is being imported:
nothing of nequip is imported here before `nequip.model.modify_utils` is there.
"""

from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final

KERNELS_MODULE: Final = "cgpot.deploy.kernels"
"""Imported by NequIP before it loads a compiled model that calls the operators."""
NAMES: Final = ("enable_cgpotTables", "enable_cgpotKernels")
_PATCHED: Final = "nequip.model.modify_utils"


class Modifiers:
    """Holder of the modifiers; they change a model in place and return it."""

    @classmethod
    def enable_cgpotTables(cls, model: Any) -> Any:
        """Radial functions of NequIP, Allegro and SchNet as splines, in plain torch operations.

        For any device and any target: the compiled model needs nothing but torch.
        """
        return _accelerate(model, "torch")

    @classmethod
    def enable_cgpotKernels(cls, model: Any) -> Any:
        """The same for CPUs, with messages summed by `cgpot::convolve` for l up to 3.

        The compiled model calls operators that NequIP's Python code loads with it; a program
        without Python must load `cgpotops.so` first.
        """
        from cgpot.deploy.kernels import load_library

        load_library()
        model = _accelerate(model, "kernels")
        for module in model.modules():
            if type(module).__name__ in ("Convolution", "FastPair"):
                module._nequip_custom_ops_libs = (KERNELS_MODULE,)
        return model


def _accelerate(model: Any, way: str) -> Any:
    from nequip.utils.logger import RankedLogger

    from cgpot.deploy.acceleration import accelerate

    record = accelerate(model, way)
    if record is None:
        raise RuntimeError(
            "no radial functions to tabulate: expected a NequIP, Allegro or SchNet model without "
            "cutoffs by pairs of types"
        )
    RankedLogger(__name__, rank_zero_only=True).info(
        f"Radial functions tabulated: largest relative error {record['value_error']:.1e}, of their "
        f"slopes {record['slope_error']:.1e}"
    )
    return model


def add_modifiers(utilities: ModuleType) -> None:
    """Let `nequip.model.modify_utils` list the modifiers for complete models."""
    from nequip.nn.model_modifier_utils import is_model_modifier, model_modifier

    devices: dict[str, list[str]] = {NAMES[0]: [], NAMES[1]: ["cuda", "xpu"]}
    for name in NAMES:
        if not is_model_modifier(getattr(Modifiers, name)):
            mark = model_modifier(
                persistent=False,
                unsupported_devices=devices[name],
                supported_compile_modes=["aotinductor"],
            )
            mark(Modifiers.__dict__[name])
    listed = utilities.get_all_modifiers

    def get_all_modifiers(module: Any, _all_modifiers: Any = None) -> Any:
        found = listed(module, _all_modifiers=_all_modifiers)
        if getattr(module, "is_graph_model", False):
            for name in NAMES:
                found.setdefault(name, getattr(Modifiers, name))
        return found

    utilities.get_all_modifiers = get_all_modifiers  # type: ignore[attr-defined]


class _Afterwards(Loader):
    """Loads a module as its own loader does, and then adds the modifiers."""

    def __init__(self, own: Loader) -> None:
        self.own = own

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.own.exec_module(module)
        add_modifiers(module)


class _Finder(MetaPathFinder):
    """Waits for `nequip.model.modify_utils`."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname != _PATCHED:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Afterwards(spec.loader)
        return spec


if _PATCHED in sys.modules:
    add_modifiers(sys.modules[_PATCHED])
else:
    sys.meta_path.insert(0, _Finder())
