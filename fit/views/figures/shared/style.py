"""The two looks of every figure, `paper` (one column, 3.25 in) and `talk` (a 10 in slide): sizes, fonts, colours."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Colormap, ListedColormap, to_hex

from fit.law.errors import FitError


@dataclass(frozen=True)
class Style:
    """Sizes of one look: inches for the figure and each panel, points for fonts, lines and markers."""

    width: float
    panel_height: float
    font: float
    small: float
    line: float
    marker: float
    family: str
    mathtext: str
    dpi: int
    letters: int  # of size `small` that fit beside a legend's handle
    abreast: int  # full panels side by side


# Both font families come with matplotlib, so that the same table gives the same bytes on every machine. The Times-like
# STIX is a fifth narrower than DejaVu Sans: three parameters with their intervals fit in one column at 6.5 points.
STYLES = {
    "paper": Style(3.25, 2.1, 8.0, 6.5, 1.0, 3.0, "STIXGeneral", "stix", 300, 76, 1),
    "talk": Style(10.0, 4.2, 16.0, 13.0, 2.2, 7.0, "DejaVu Sans", "dejavusans", 200, 100, 2),
}

# rcParams are global to the process: one figure at a time, so that threads do not see each other's fonts.
_LOCK = threading.RLock()


def named(style: str) -> Style:
    """The look with this name. Raises FitError if there is none."""
    if style not in STYLES:
        raise FitError(f"There is no style {style!r}: choose one of {', '.join(STYLES)}.")
    return STYLES[style]


def _params(look: Style) -> dict[str, Any]:
    return {
        "font.family": look.family,
        "mathtext.fontset": look.mathtext,
        "font.size": look.font,
        "axes.labelsize": look.font,
        "axes.titlesize": look.small,
        "legend.fontsize": look.small,
        "legend.title_fontsize": look.small,
        "xtick.labelsize": look.small,
        "ytick.labelsize": look.small,
        "lines.linewidth": look.line,
        "lines.markersize": look.marker,
        "axes.linewidth": 0.6 * look.line,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "legend.handlelength": 1.6,
        "figure.constrained_layout.h_pad": 0.05,
        "figure.constrained_layout.w_pad": 0.05,
        "pdf.fonttype": 42,  # TrueType: text stays text, and journals refuse Type 3
        "svg.hashsalt": "saescale",
    }


@contextmanager
def applied(style: str) -> Iterator[Style]:
    """matplotlib's parameters for one look, restored on leaving; only one thread draws at a time."""
    look = named(style)
    with _LOCK, mpl.rc_context():
        mpl.rcdefaults()
        params: Any = _params(look)  # matplotlib types each key; a look sets a few
        mpl.rcParams.update(params)
        yield look


def sequential() -> Colormap:
    """viridis without its yellow end, which is too pale for a thin line on white; safe for colour-blind readers."""
    return ListedColormap(mpl.colormaps["viridis"](np.linspace(0.0, 0.82, 256)), name="viridis_section")


def colours(count: int) -> list[str]:
    """`count` colours in order, dark to light, as hex."""
    section = sequential()
    return [to_hex(section(x)) for x in (np.linspace(0.0, 1.0, count) if count > 1 else [0.3])]
