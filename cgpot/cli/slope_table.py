# SPDX-License-Identifier: GPL-2.0-or-later
"""P(rho) and compositions as rows of a table, for the commands that evaluate."""

from __future__ import annotations

from typing import Any


def slope_cells(record: dict[str, Any] | None) -> tuple[str, str, str]:
    """dP/drho of model, pair fit and labels, bar/(kg/m^3) with errors."""

    def cell(name: str) -> str:
        value = (record or {}).get(name)
        if not value:
            return "-"
        error = value["error"]
        return f"{value['value']:.2f}" + ("" if error is None else f" ± {error:.2f}")

    return cell("model"), cell("pair_fit"), cell("labels")


def point_cells(record: dict[str, Any] | None) -> list[tuple[str, ...]]:
    """Density and pressure of model, pair fit and labels (bar) in each group of frames."""
    rows = []
    for point in (record or {}).get("points", []):
        cells = [
            f"{point[name]['mean']:+.0f} ± {point[name]['error']:.0f}" if name in point else "-"
            for name in ("model", "pair_fit", "labels")
        ]
        rows.append((f"  P at {point['density_kg_m3']:.1f} kg/m^3, bar", *cells))
    return rows


def composition_cells(record: dict[str, Any] | None) -> list[tuple[str, ...]]:
    """Force error, mean pressure residual and dP/drho of each composition; none for a single one.

    Args:
        record: key ``compositions`` of result.json or evaluation.json.
    """
    rows: list[tuple[str, ...]] = []
    for name, item in (record if isinstance(record, dict) else {}).items():
        rows.append((f"{name}: force rmse, eV/Å", f"{item['force_rmse']:.5f}", "", ""))
        residual = item["pressure_residual_bar"]
        if residual:
            text = f"{residual['mean']:+.1f} ± {residual['error']:.1f}"
            rows.append(("  mean pressure residual, bar", text, "", "0"))
        if item["pressure_slope"]:
            rows.append(("  dP/dρ, bar/(kg/m^3)", *slope_cells(item["pressure_slope"])))
    return rows
