# SPDX-License-Identifier: GPL-2.0-or-later
"""Points of a study in a picture: colours by family, markers by loss, names, axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cgpot.study.point_rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito's palette: told apart by the colour-blind too
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6b7280", "#000000")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")


def families(rows: Sequence[Row]) -> dict[str, str]:
    """Family -> colour, in order of appearance."""
    names = dict.fromkeys(str(row["family"]) for row in rows)
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}


def losses(rows: Sequence[Row]) -> dict[str, str]:
    """Labels of the loss -> marker."""
    names = dict.fromkeys(str(row["loss"]) for row in rows)
    return {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(names)}


def scatter(
    axes: Axes,
    rows: Sequence[Row],
    values: Sequence[tuple[float, float]],
    x_errors: Sequence[float | None],
    y_errors: Sequence[float | None],
) -> None:
    """Draw the points (x, y) of the rows with error bars and the legend."""
    colours, markers = families(rows), losses(rows)
    several = len(markers) > 1
    for row, (x, y), dx, dy in zip(rows, values, x_errors, y_errors, strict=True):
        colour = colours[str(row["family"])]
        marker = markers[str(row["loss"])]
        hollow = several and marker != list(markers.values())[-1]
        axes.errorbar(
            x,
            y,
            xerr=dx,
            yerr=dy,
            fmt=marker,
            ms=7.5,
            mfc="white" if hollow else colour,
            mec=colour,
            mew=1.6,
            ecolor=colour,
            elinewidth=1.1,
            capsize=2.5,
            zorder=3,
        )
    legend(axes, colours, markers)


def legend(axes: Axes, colours: dict[str, str], markers: dict[str, str]) -> None:
    """One legend below the picture for colours and markers."""
    from matplotlib.lines import Line2D

    def handle(text: str, colour: str, marker: str, fill: str) -> Line2D:
        return Line2D(
            [], [], ls="", marker=marker, mec=colour, mfc=fill, mew=1.6, ms=7.5, label=text
        )

    handles = [handle(name, colour, "o", colour) for name, colour in colours.items()]
    if len(markers) > 1:
        last = list(markers)[-1]
        handles += [
            handle(f"loss: {name}", "#333333", marker, "#333333" if name == last else "white")
            for name, marker in markers.items()
        ]
    axes.figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(4, len(handles)),
        frameon=False,
        fontsize=9,
    )


def label_points(
    axes: Axes,
    rows: Sequence[Row],
    values: Sequence[tuple[float, float]],
    x_errors: Sequence[float | None] = (),
) -> None:
    """Write names beside the points where they hide neither each other nor a point."""
    from matplotlib.patheffects import withStroke

    figure: Any = axes.figure
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    dots = [axes.transData.transform(value) for value in values]
    for (x, y), error in zip(values, x_errors, strict=False):
        if error:
            dots += [axes.transData.transform((x + f * error, y)) for f in (-1, -0.5, 0.5, 1)]
    frame = axes.get_window_extent(renderer)
    taken: list[Any] = []
    groups = shared_names(rows)
    offsets = [(9, 0), (-9, 0), (0, 9), (0, -9), (8, 8), (-8, 8), (8, -8), (-8, -8)]
    offsets += [(0, 20), (0, -20), (14, 17), (-14, 17), (14, -17), (-14, -17)]
    for row, value in zip(rows, values, strict=True):
        best: tuple[float, Any, Any] | None = None
        for dx, dy in offsets:
            text = axes.annotate(
                groups[str(row["point"])],
                value,
                xytext=(dx, dy),
                textcoords="offset points",
                fontsize=7.6,
                color="#333333",
                ha="left" if dx > 0 else "right" if dx < 0 else "center",
                va="bottom" if dy > 0 else "top" if dy < 0 else "center",
                arrowprops={"arrowstyle": "-", "color": "#999999", "lw": 0.6, "shrinkB": 4}
                if abs(dx) + abs(dy) >= 20
                else None,
                path_effects=[withStroke(linewidth=1.6, foreground="white")],
                zorder=4,
            )
            box = text.get_window_extent(renderer)
            hidden = sum(100.0 for other in taken if box.overlaps(other))
            hidden += sum(40.0 for x, y in dots if box.expanded(1.02, 1.2).contains(x, y))
            outside = box.x0 < frame.x0 or box.x1 > frame.x1
            outside = outside or box.y0 < frame.y0 or box.y1 > frame.y1
            cost = hidden + (80.0 if outside else 0.0) + 0.1 * (abs(dx) + abs(dy))
            if best is None or cost < best[0]:
                if best is not None:
                    best[1].remove()
                best = (cost, text, box)
            else:
                text.remove()
        if best is not None:
            if best[0] >= 100.0:
                best[1].remove()
            else:
                taken.append(best[2])


def shared_names(rows: Sequence[Row]) -> dict[str, str]:
    """Names as labels: the part that only tells the loss, which the marker shows, is left out."""
    endings: dict[str, set[str]] = {}
    for row in rows:
        ending = str(row["point"]).rsplit("_", 1)[-1]
        endings.setdefault(ending, set()).add(str(row["loss"]))
    several = len(losses(rows)) > 1
    result = {}
    for row in rows:
        name = str(row["point"])
        head, _, ending = name.rpartition("_")
        tells = several and head and len(endings[ending]) == 1 and len(endings) <= 4
        result[name] = head if tells else name
    return result


def having(rows: Sequence[Row], *columns: str) -> list[Row]:
    """The rows that hold numbers in all these columns."""
    return [row for row in rows if all(isinstance(row.get(c), int | float) for c in columns)]


def style(axes: Axes, x_label: str, y_label: str) -> None:
    """Labels, grid and frame of a panel."""
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(True, which="major", color="#e3e5e8", lw=0.8, zorder=0)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def plain_log(axis: Any) -> None:
    """Numbers, not powers, on a logarithmic axis; minor ones too where there is room."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = sorted(axis.get_view_interval())
    span = high / low
    subs: tuple[float, ...] = (1.0, 2.0, 5.0) if span < 500 else (1.0,)
    if span < 8:
        subs = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
    axis.set_major_locator(LogLocator(base=10.0, subs=subs, numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def log_limits(axes: Axes, values: Sequence[tuple[float, float]], *, x: bool, y: bool) -> None:
    """Logarithmic axes with room for names around the points."""
    for wanted, index, name in ((x, 0, "x"), (y, 1, "y")):
        if not wanted:
            continue
        numbers = [value[index] for value in values]
        low, high = min(numbers), max(numbers)
        room = max((high / low) ** 0.12, 1.25)
        getattr(axes, f"set_{name}scale")("log")
        getattr(axes, f"set_{name}lim")(low / room, high * room)
        plain_log(getattr(axes, f"{name}axis"))
