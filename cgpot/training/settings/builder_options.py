# SPDX-License-Identifier: GPL-2.0-or-later
"""Further options of a network, passed as they are to its builder in the NequIP framework."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from cgpot.core.errors import ConfigError

OWN = {
    "seed": "the key seed",
    "model_dtype": "model.dtype",
    "compile_mode": "the key compile",
    "type_names": "the bead types of the data",
    "r_max": "model.cutoff",
    "pair_potential": "the section prior",
    "do_derivatives": "the training, which needs forces",
    "readout_start": "model.readout_start",
}
"""Arguments that every builder gets from elsewhere, and from where."""
PER_TYPE = ("per_type_energy_scales", "per_type_energy_shifts", "avg_num_neighbors")
"""Options that may be a mapping from bead types to numbers."""


def builder(network: str) -> tuple[str, list[Callable[..., Any]], tuple[str, ...]]:
    """The builder of a network: its name, functions with its arguments, and what these set.

    Args:
        network: 'nequip', 'allegro' or 'schnet'.

    Returns:
        Name for messages, functions, and arguments that the first passes on by itself.
    """
    if network == "nequip":
        from nequip.model import NequIPGNNModel
        from nequip.model.nequip_models import FullNequIPGNNModel

        inner = ("irreps_edge_sh", "feature_irreps_hidden")
        return "nequip.model.NequIPGNNModel", [NequIPGNNModel, FullNequIPGNNModel], inner
    if network == "allegro":
        from allegro.model import AllegroModel
        from allegro.model.allegro_models import FullAllegroModel

        inner = ("irreps_edge_sh", "tensor_track_allowed_irreps")
        return "allegro.model.AllegroModel", [AllegroModel, FullAllegroModel], inner
    from cgpot.training.network.builders import SchNetModel

    return "cgpot.training.network.builders.SchNetModel", [SchNetModel], ()


def known_options(network: str, keys: Mapping[str, str]) -> list[str]:
    """Names of the options that a network takes, without those that have keys of their own."""
    _, functions, inner = builder(network)
    names: set[str] = set()
    for function in functions:
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
                names.add(name)
    return sorted(names - set(inner) - set(OWN) - set(keys))


def check_options(network: str, options: Mapping[str, Any], keys: Mapping[str, str]) -> None:
    """Refuse options that the builder lacks, or that have a key of their own.

    Args:
        network: 'nequip', 'allegro' or 'schnet'.
        options: name -> value.
        keys: argument of the builder -> key of the section ``model`` that sets it.

    Raises:
        ValueError: the option, and what to use instead or what there is.
    """
    if not options:
        return
    if network == "schnet" and isinstance(options.get("avg_num_neighbors"), Mapping):
        raise ValueError("avg_num_neighbors of SchNet is one number for all bead types")
    known = known_options(network, keys)
    for name in options:
        if name in keys:
            raise ValueError(f"option {name!r} has a key of its own: model.{keys[name]}")
        if name in OWN:
            raise ValueError(f"option {name!r} is set by {OWN[name]}")
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ValueError(
                f"{builder(network)[0]} has no option {name!r}{hint} (known: {', '.join(known)})"
            )


def check_type_names(options: Mapping[str, Any], type_names: tuple[str, ...]) -> str | None:
    """What is wrong with the bead types that options name, if anything."""
    for name in PER_TYPE:
        value = options.get(name)
        if isinstance(value, Mapping) and set(value) != set(type_names):
            return (
                f"{name} is for bead types {sorted(map(str, value))}, the data have "
                f"{sorted(type_names)}"
            )
    return None


def try_build(record: Mapping[str, Any]) -> None:
    """Build a network once, so that values that its builder refuses are told before training.

    Args:
        record: the builder (`_target_`, of `cgpot.training.network.builders`) and its arguments.

    Raises:
        ConfigError: what the builder says.
    """
    from nequip.utils.global_state import global_state_initialized, set_global_state

    from cgpot.training.network import builders

    if not global_state_initialized():
        set_global_state()
    arguments = {**record, "compile_mode": "eager"}
    name = arguments.pop("_target_").rsplit(".", 1)[-1]
    try:
        getattr(builders, name)(**arguments)
    except Exception as err:  # builders raise anything, assertions above all
        text = str(err).strip() or type(err).__name__
        raise ConfigError(f"the model cannot be built: {text}", key="model.options") from err
