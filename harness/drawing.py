"""How pictures look, and how a figure becomes SVG for the inside of a page; equal figures give equal bytes."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from io import BytesIO
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from makespan.harness.contenders import NONE, ORACLE

WIDTH = 5.2
"""Inches. Narrow, so that letters are still legible where a phone shrinks the picture."""

INK, FAINT, PALE = "#222222", "#8a8a8a", "#e6e6e6"

# Okabe and Ito's palette, distinct for the colour-blind; the marker tells them apart a second time.
BETWEEN = (("#E69F00", "s"), ("#009E73", "^"), ("#CC79A7", "v"), ("#56B4E9", "P"), ("#D55E00", "X"), ("#9C8B00", "<"))

Look = tuple[str, str]

_STYLE: Mapping[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "figure.constrained_layout.use": True,
}


def looks(information: Sequence[str]) -> dict[str, Look]:
    """Return colour and marker of each information source; the same names give the same looks in every picture."""
    between = sorted(set(information) - {NONE, ORACLE})
    chosen = {name: BETWEEN[k % len(BETWEEN)] for k, name in enumerate(between)}
    return {NONE: (INK, "o"), **chosen, ORACLE: ("#0072B2", "D")}


@contextmanager
def drawing(name: str) -> Iterator[None]:
    """Draw in the house style; `name` keeps identifiers apart from those of other pictures on the page."""
    with matplotlib.style.context(["default", {**_STYLE, "svg.hashsalt": name}]):
        yield


def as_svg(figure: Figure, words: str) -> str:
    """Return the figure as an ``svg`` element; `words` say what is to be seen to those who cannot see it."""
    written = BytesIO()
    figure.savefig(written, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = written.getvalue().decode("utf-8")
    svg = svg[svg.index("<svg") :]
    # Nothing refers to these, and they would not be unique within the page.
    svg = re.sub(r' id="([^"]*_\d+|image[^"]*)"', "", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(words)}"', 1)


def clock(longest_s: float) -> tuple[float, str]:
    """Return the unit in which times up to `longest_s` read well: its seconds and its name."""
    if longest_s < 1200:
        return 1.0, "s"
    return (60.0, "min") if longest_s < 3 * 3600 else (3600.0, "h")


def mark_line(axes: Axes, x: float, words: str, *, row: int = 0, colour: str = INK, dashes: str = "--") -> None:
    """Draw a vertical line and name it above the axes; lines that may lie close together take different rows."""
    axes.axvline(x, color=colour, linestyle=dashes, linewidth=1.2, zorder=1)
    axes.annotate(
        words,
        (x, 1),
        xycoords=axes.get_xaxis_transform(),
        xytext=(0, 3 + 13 * row),
        textcoords="offset points",
        ha="center" if row else "left",
        color=colour,
        fontsize=10,
    )
