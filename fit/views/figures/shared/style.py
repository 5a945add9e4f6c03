"""The looks of every figure: `paper` (one column of 3.25 in or two of 6.75 in) and `talk` (a slide, 10 in)."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.font_manager import FontProperties

from fit.law.errors import FitError


@dataclass(frozen=True)
class Style:
    """Sizes of one look: inches for figures, points for fonts, lines and markers.

    widths: of a figure in one column, or in two, or on a slide. heights: of a figure with one, two or three rows of
    panels. columns: 1 or 2 to force a width; None takes the narrowest one that has the panels in one row. width and
    height, where given, replace both. rc: matplotlib parameters of the user, which have the last word.
    """

    widths: tuple[float, ...]
    heights: tuple[float, float, float]
    font: float
    small: float
    line: float
    marker: float
    family: str
    mathtext: str
    dpi: int
    columns: int | None = None
    width: float | None = None
    height: float | None = None
    rc: tuple[tuple[str, Any], ...] = ()


# Both font families come with matplotlib, so that the same table gives the same bytes on every machine. The Times-like
# STIX is a fifth narrower than DejaVu Sans.
STYLES = {
    "paper": Style((3.25, 6.75), (2.2, 3.8, 4.0), 8.0, 6.5, 1.0, 3.0, "STIXGeneral", "stix", 300),
    "talk": Style((10.0,), (5.0, 5.6, 5.6), 15.0, 12.0, 2.2, 7.0, "DejaVu Sans", "dejavusans", 200),
}

# rcParams are global to the process: one figure at a time, so that threads do not see each other's fonts.
_LOCK = threading.RLock()


def named(style: str | Style) -> Style:
    """The look with this name; a look is returned as it is. Raises FitError if there is none."""
    if isinstance(style, Style):
        return style
    if style not in STYLES:
        raise FitError(f"There is no style {style!r}: choose one of {', '.join(STYLES)}.")
    return STYLES[style]


def changed(
    style: str | Style,
    columns: int | None = None,
    width: float | None = None,
    height: float | None = None,
    rc: Path | str | None = None,
) -> Style:
    """A look with the user's width in columns or inches, height, and matplotlib style file.

    Raises FitError for a file that cannot be read, or that sets what matplotlib does not know.
    """
    parameters: dict[str, Any] = {} if rc is None else _style_file(Path(rc))
    rc_pairs = tuple(parameters.items())
    return replace(named(style), columns=columns, width=width, height=height, rc=rc_pairs)


def _style_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FitError(f"There is no style file {path}.")
    for line in path.read_text(errors="replace").splitlines():
        key = line.split("#")[0].split(":")[0].strip()
        if key and key not in mpl.rcParams:  # matplotlib only logs it
            raise FitError(f"The style file {path} is not matplotlib's: it has no parameter {key!r}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read: Any = mpl.rc_params_from_file(path, use_default_template=False)
            return dict(read)
    except Exception as error:  # matplotlib raises KeyError, ValueError or its own warnings for a wrong line
        raise FitError(f"The style file {path} is not matplotlib's: {' '.join(str(error).split())}") from None


def rc_params(style: str | Style = "paper") -> dict[str, Any]:
    """matplotlib's parameters of a look, for `plt.rc_context(rc_params("paper"))` around a figure of one's own."""
    return _params(named(style)) | dict(named(style).rc)


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
        "axes.labelpad": 0.25 * look.small,
        "axes.titlepad": 0.5 * look.small,
        "xtick.major.size": 0.4 * look.small,
        "ytick.major.size": 0.4 * look.small,
        "xtick.major.pad": 0.3 * look.small,
        "ytick.major.pad": 0.3 * look.small,
        "xtick.major.width": 0.6 * look.line,
        "ytick.major.width": 0.6 * look.line,
        "figure.constrained_layout.h_pad": 0.02,
        "figure.constrained_layout.w_pad": 0.02,
        "figure.constrained_layout.hspace": 0.0,
        "figure.constrained_layout.wspace": 0.0,
        "pdf.fonttype": 42,  # TrueType: text stays text, and journals refuse Type 3
        "svg.hashsalt": "saescale",
    }


@contextmanager
def applied(style: str | Style) -> Iterator[Style]:
    """matplotlib's parameters for one look, restored on leaving; only one thread draws at a time."""
    look = named(style)
    with _LOCK, mpl.rc_context():
        mpl.rcdefaults()
        params: Any = rc_params(look)  # matplotlib types each key; a look sets a few
        mpl.rcParams.update(params)
        yield look


@dataclass(frozen=True)
class Sizes:
    """The sizes in points that hold while a figure is drawn: of the look, or of whatever a person has set."""

    font: float
    small: float
    line: float
    marker: float


def sizes() -> Sizes:
    """The sizes that matplotlib's parameters now have."""
    now = mpl.rcParams
    small = FontProperties(size=now["xtick.labelsize"]).get_size_in_points()
    font = FontProperties(size=now["axes.labelsize"]).get_size_in_points()
    return Sizes(font, small, now["lines.linewidth"], now["lines.markersize"])
