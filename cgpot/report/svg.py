# SPDX-License-Identifier: GPL-2.0-or-later
"""Matplotlib figures as inline SVG whose colours follow the page (light, dark, print)."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

# Colours by role: the stand-in drawn by matplotlib -> the CSS variable of the page.
INK = "#101112"
MUTED = "#202122"
GRID = "#303132"
AA = "#404142"
CG = "#505152"
CG2 = "#606162"
LIMIT = "#707172"
PAPER = "#808182"
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--rule",
    AA: "--aa",
    CG: "--cg",
    CG2: "--cg2",
    LIMIT: "--limit",
    PAPER: "--paper",
}
WIDTH = 5.0
"""Width of a figure, inches: its text is readable when scaled to 330 px of a phone."""

_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "axes.labelsize": 10.5,
    "axes.titlesize": 10.5,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "axes.unicode_minus": True,
}


@dataclass(frozen=True)
class Figure:
    """A figure for the page.

    Attributes:
        key: its anchor, unique on the page.
        title: short heading.
        alt: what a reader who does not see it should know.
        caption: what it shows and how to read it.
        svg: markup without names from outside.
        wide: takes the whole width of the page.
    """

    key: str
    title: str
    alt: str
    caption: str
    svg: str
    wide: bool = False


@contextmanager
def drawing() -> Iterator[Any]:
    """`matplotlib.pyplot` in the page's style; open figures are closed at the end."""
    import matplotlib as mpl

    mpl.use("Agg", force=False)
    import matplotlib.pyplot as plt

    with mpl.rc_context(_STYLE):
        try:
            yield plt
        finally:
            plt.close("all")


def to_svg(figure: Any, key: str, alt: str) -> str:
    """Inline SVG: unique ids, colours as CSS variables, a title and no outside names."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", bbox_inches="tight", pad_inches=0.04, metadata=None)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{key}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{key}-\1)", text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{key}-\1"', text)
    for stand_in, variable in _VARIABLES.items():
        text = text.replace(stand_in, f"var({variable})")
    text = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--sans)", text)
    text = re.sub(r"\n\s*", "\n", text)
    label = html.escape(alt, quote=True)

    def head(match: re.Match[str]) -> str:
        box = re.search(r'viewBox="([^"]+)"', match.group(0))
        view = box.group(1) if box else "0 0 360 240"
        width, height = (float(x) for x in view.split()[2:])
        return (
            f'<svg role="img" aria-label="{label}" viewBox="{view}" '
            f'width="{width:.0f}" height="{height:.0f}">'
        )

    return re.sub(r"<svg[^>]*>", head, text, count=1)
