# SPDX-License-Identifier: GPL-2.0-or-later
"""Model builders for nequip's configuration, one for each network of train.yaml."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from nequip.model import NequIPGNNModel
from nequip.model.utils import model_builder

from cgpot.training.network.temperature_readout import add_temperature

READOUTS = ("per_atom_energy_readout", "edge_readout")
"""Names of the modules that turn features into energies, of nodes or of edges."""


def shrink_readout(model: torch.nn.Module, factor: float) -> None:
    """Multiply the last layer of the readout, so that its energies are ``factor`` times smaller.

    Raises:
        ValueError: the model has no readout of a known name.
    """
    for name, module in model.named_modules():
        if name.rsplit(".", 1)[-1] not in READOUTS:
            continue
        weights = [p for p in module.parameters() if p.ndim == 2]
        with torch.no_grad():
            weights[-1].mul_(factor)
        return
    raise ValueError(f"the model has no module named {' or '.join(READOUTS)}")


def start_at_prior(
    build: Callable[..., Any],
    readout_start: float = 1.0,
    temperature_reference: float | None = None,
    temperature_scale: float = 1.0,
    **kwargs: Any,
) -> torch.nn.Module:
    """A network whose readout starts small, so that training starts at the prior.

    Args:
        build: builder of the network.
        readout_start: factor on the initial energies of the network.
        temperature_reference: K; the energy depends on the temperature (`add_temperature`).
        temperature_scale: K.
        kwargs: arguments of ``build``.

    Raises:
        ValueError: the model has no readout of a known name.
    """
    model = build(**kwargs)
    shrink_readout(model, readout_start)
    return add_temperature(model, READOUTS, temperature_reference, temperature_scale)


@model_builder
def CGNequIPModel(**kwargs: Any) -> Any:
    """nequip's `NequIPGNNModel`, made by `start_at_prior`, whose arguments it also takes."""
    return start_at_prior(NequIPGNNModel, **kwargs)


@model_builder
def CGAllegroModel(**kwargs: Any) -> Any:
    """nequip-allegro's `AllegroModel`, made by `start_at_prior`, whose arguments it also takes.

    Musaelian et al., Nat. Commun. 14, 579 (2023).
    """
    from allegro.model import AllegroModel

    return start_at_prior(AllegroModel, **kwargs)


@model_builder
def CGSchNetModel(**kwargs: Any) -> Any:
    """`SchNetModel`, made by `start_at_prior`, whose arguments it also takes."""
    return start_at_prior(SchNetModel, **kwargs)


@model_builder
def SchNetModel(
    r_max: float,
    type_names: Sequence[str],
    num_interactions: int = 3,
    num_features: int = 128,
    num_filters: int | None = None,
    num_gaussians: int = 50,
    gaussian_start: float = 0.0,
    gaussians_trainable: bool = False,
    cutoff_function: str = "cosine",
    polynomial_cutoff_p: int = 6,
    per_edge_type_cutoff: dict[str, Any] | None = None,
    avg_num_neighbors: float | None = None,
    shared_interactions: bool = False,
    readout_hidden: Sequence[int] | None = None,
    per_type_energy_scales: float | dict[str, float] | None = None,
    per_type_energy_shifts: float | dict[str, float] | None = None,
    per_type_energy_scales_trainable: bool = False,
    per_type_energy_shifts_trainable: bool = False,
    pair_potential: dict[str, Any] | None = None,
    do_derivatives: bool = True,
) -> Any:
    """SchNet: Schuett et al., J. Chem. Phys. 148, 241722 (2018).

    Args:
        r_max: cutoff, Å.
        type_names: bead types (alphanumeric).
        num_interactions: interaction blocks.
        num_features: features of a bead.
        num_filters: width of the continuous filters; None: ``num_features``.
        num_gaussians: Gaussians that expand a distance, from ``gaussian_start`` (Å) to ``r_max``.
        gaussian_start: centre of the first Gaussian, Å.
        gaussians_trainable: whether centres and widths are trained.
        cutoff_function: 'cosine' (as published) or 'polynomial' (three smooth derivatives).
        polynomial_cutoff_p: exponent of the polynomial.
        per_edge_type_cutoff: smaller cutoffs for pairs of types, as in nequip.
        avg_num_neighbors: divides the sum over neighbours by its square root; None: plain sum.
        shared_interactions: one set of weights for all interaction blocks.
        readout_hidden: widths of the readout's hidden layers; None: one of ``num_features`` / 2.
        per_type_energy_scales: eV, for each bead type or for all.
        per_type_energy_shifts: eV, for each bead type or for all.
        per_type_energy_scales_trainable: whether the scales are trained.
        per_type_energy_shifts_trainable: whether the shifts are trained.
        pair_potential: module that adds pair energies.
        do_derivatives: whether forces and stress are computed.

    Raises:
        ValueError: another cutoff function, or type names that are not alphanumeric.
    """
    from nequip.model.energy_modules import _append_energy_modules
    from nequip.nn import ForceStressOutput, PerTypeScaleShift, SequentialGraphNetwork
    from nequip.nn.embedding import EdgeLengthNormalizer, NodeTypeEmbed, PolynomialCutoff

    from cgpot.training.network.schnet import (
        AtomwiseReadout,
        CosineCutoff,
        GaussianEdgeLengthEncoding,
        SchNetInteraction,
    )

    if not all(name.isalnum() for name in type_names):
        raise ValueError(f"type names must be alphanumeric, found {list(type_names)}")
    cutoffs = {"cosine": CosineCutoff, "polynomial": lambda: PolynomialCutoff(polynomial_cutoff_p)}
    if cutoff_function not in cutoffs:
        raise ValueError(f"unknown cutoff_function {cutoff_function!r} (known: {list(cutoffs)})")
    modules: dict[str, Any] = {}

    def add(name: str, module: Any) -> Any:
        modules[name] = module
        return module.irreps_out

    irreps = add("type_embed", NodeTypeEmbed(type_names=type_names, num_features=num_features))
    irreps = add(
        "edge_norm",
        EdgeLengthNormalizer(
            r_max=r_max,
            type_names=type_names,
            per_edge_type_cutoff=per_edge_type_cutoff,
            irreps_in=irreps,
        ),
    )
    irreps = add(
        "radial",
        GaussianEdgeLengthEncoding(
            r_max=r_max,
            cutoff=cutoffs[cutoff_function](),
            num_gaussians=num_gaussians,
            start=gaussian_start,
            trainable=gaussians_trainable,
            irreps_in=irreps,
        ),
    )
    block = None
    for number in range(num_interactions):
        if block is None or not shared_interactions:
            block = SchNetInteraction(
                num_filters=num_filters or num_features,
                avg_num_neighbors=avg_num_neighbors,
                irreps_in=irreps,
            )
        irreps = add(f"interaction{number}", block)
    if readout_hidden is None:
        readout_hidden = [max(1, num_features // 2)]
    irreps = add(READOUTS[0], AtomwiseReadout(readout_hidden, irreps_in=irreps))
    add(
        "per_type_energy_scale_shift",
        PerTypeScaleShift(
            type_names=type_names,
            field="atomic_energy",
            scales=_plain(per_type_energy_scales),
            shifts=_plain(per_type_energy_shifts),
            scales_trainable=per_type_energy_scales_trainable,
            shifts_trainable=per_type_energy_shifts_trainable,
            irreps_in=irreps,
        ),
    )
    energy = _append_energy_modules(
        model=SequentialGraphNetwork(modules), type_names=type_names, pair_potential=pair_potential
    )
    return ForceStressOutput(energy, do_derivatives)


def _plain(value: Any) -> Any:
    """A mapping of any kind (hydra's) as a dict."""
    return dict(value) if isinstance(value, Mapping) else value


def _pack_own_code() -> None:
    """Let `nequip-package` put `cgpot.training` modules into the archive, beside nequip's code.

    What they import to read pair.json is mocked: an archived model holds its coefficients, and
    never reads the file.
    """
    from nequip.scripts import _package_utils

    _package_utils._INTERNAL_MODULES.add("cgpot")
    _package_utils._MOCK_MODULES.add("cgpot.potential.splines")


_pack_own_code()
