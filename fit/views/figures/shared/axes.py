"""Panels and logarithmic axes with readable ticks, shared by the figures."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogFormatterMathtext,
    LogLocator,
    MaxNLocator,
    NullLocator,
)

from fit.law.result import FitResult
from fit.views.figures.shared import labels
from fit.views.figures.shared.style import Style

# Predicting the mean gives an NMSE of 1. Only the first steps and diverged runs lie far above; they would flatten the
# rest.
TOP = 1.5
# A comma outside brackets. The commas inside an interval are not line breaks.
_COMMA = r", (?![^\[(]*[\])])"
_FAMILIES = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9))


def panels(
    count: int, columns: int, look: Style, words: int, share: bool = True
) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, at most `columns` side by side, with room for `words` further lines of small text.

    share: whether the panels share one y axis.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    each = look.panel_height * (1 if columns == 1 else 0.8)
    height = rows * each + words * 1.6 * look.small / 72
    figure = Figure(figsize=(look.width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=share).flatten()
    for spare in axes[count:]:
        spare.remove()
    return figure, list(axes[:count])


def titled(
    names: Sequence[str], columns: int, look: Style, words: int, share: bool = True
) -> tuple[Figure, list[Axes]]:
    """`panels` with a name above each panel; long names are broken at their commas."""
    letters = int(0.9 * look.letters) // min(columns, len(names)) - 8
    heads = [
        labels.wrapped([f"{part}," for part in re.split(_COMMA, name)], letters).rstrip(",") for name in names
    ]
    tallest = max(head.count("\n") + 1 for head in heads) if any(heads) else 0
    rows = -(-len(names) // min(columns, len(names)))
    figure, axes = panels(len(names), columns, look, words + tallest * rows, share)
    for ax, head in zip(axes, heads, strict=True):
        ax.set_title(labels.typeset(head.replace(",  ", ", ")), loc="left")
    return figure, axes


def panel_per_fit(
    laws: Sequence[FitResult], look: Style, words: int, share: float
) -> tuple[Figure, dict[str, Axes]]:
    """A panel for each fit, keyed by the name of its group. Titles give that name and the parameters with intervals.

    words: as in `panels`. share: the part of a legend's line that fits above the panels, next to the colour bar.
    """
    names, columns = labels.fit_names(laws), min(look.abreast, len(laws))
    letters = int(share * look.letters) // columns
    heads = [
        labels.wrapped([name, *labels.parameters(fit)], letters)
        for name, fit in zip(names, laws, strict=True)
    ]
    tallest = max(head.count("\n") + 1 for head in heads)
    figure, axes = panels(len(laws), columns, look, words + tallest * -(-len(laws) // columns))
    for ax, head in zip(axes, heads, strict=True):
        ax.set_title(labels.typeset(head), loc="left")
    return figure, dict(zip(names, axes, strict=True))


def y_label(figure: Figure, axes: Sequence[Axes], text: str, look: Style) -> None:
    """One y label: beside the first panel if all are in one row, else beside the whole figure."""
    places = [ax.get_subplotspec() for ax in axes]
    if all(place is not None and place.rowspan.start == 0 for place in places):
        axes[0].set_ylabel(text)
    else:
        figure.supylabel(text, fontsize=look.font)


def _ticks(low: float, high: float, fewest: int = 3, most: int = 6) -> list[float]:
    """Between `fewest` and `most` round numbers in [low, high], low > 0."""
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for family in _FAMILIES:
        ticks = [float(f"{m}e{e}") for e in decades for m in family]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if fewest <= len(ticks) <= most:
            return ticks
    if high / low > 100:
        return [tick for tick in (10.0**e for e in decades) if low <= tick <= high][
            :: 1 + len(decades) // most
        ]
    return [float(tick) for tick in MaxNLocator(most - 1).tick_values(low, high) if low <= tick <= high]


def nmse(ax: Axes, table: pd.DataFrame, top: float = TOP) -> None:
    """Logarithmic y axis that holds a table's `nmse` and its `low` and `high`, with ticks as plain decimals.

    low and high widen the axis by half at most. The axis is cut above `top`, unless every `nmse` is above 1.
    """
    numbers = table.reindex(columns=["nmse", "low", "high"]).to_numpy(dtype=float, na_value=np.nan)
    plotted, every = (part[np.isfinite(part) & (part > 0)] for part in (numbers[:, 0], numbers))
    cut = top if plotted.min() < 1 else np.inf
    low = max(every.min(), plotted.min() / 1.5) / 1.04
    high = min(every.max(), 1.5 * plotted.max(), cut) * 1.04
    _logarithmic(ax, "y", low, high)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))


def quantity(ax: Axes, which: str, values: pd.Series | Sequence[float]) -> None:
    """Logarithmic axis `which`, x or y, that holds the positive values; ticks like 10^6 or 2·10^6."""
    known = np.asarray(pd.Series(values).astype("float64"))
    known = known[np.isfinite(known) & (known > 0)]
    margin = max((known.max() / known.min()) ** 0.04, 1.05)
    _logarithmic(ax, which, known.min() / margin, known.max() * margin)
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: power(value)))


def power(value: float) -> str:
    """`10⁶` or `2·10⁶` in mathtext; numbers from 0.01 to 9,999 as they are."""
    if value and 0.01 <= abs(value) < 1e4:
        return f"{value:,g}"
    mantissa, exponent = f"{value:e}".split("e")
    raised = rf"10^{{{int(exponent)}}}"
    factor = "" if float(mantissa) == 1 else rf"{float(mantissa):g}\cdot"
    return rf"$\mathdefault{{{factor}{raised}}}$"


def _logarithmic(ax: Axes, which: str, low: float, high: float) -> None:
    """Set the limits and round ticks of a logarithmic axis."""
    set_scale, set_limits, axis = (
        (ax.set_xscale, ax.set_xlim, ax.xaxis) if which == "x" else (ax.set_yscale, ax.set_ylim, ax.yaxis)
    )
    set_scale("log")
    set_limits(low, high)
    fewest, most = (
        (2, 4) if which == "x" else (3, 6)
    )  # labels need more room side by side than above one another
    axis.set_major_locator(FixedLocator(_ticks(low, high, fewest, most)))
    axis.set_minor_locator(NullLocator())


def few(most: int) -> MaxNLocator:
    """At most `most` round ticks, for an axis that is not logarithmic."""
    return MaxNLocator(most, steps=[1, 2, 2.5, 5, 10])


def percents(share: float, _: Any = None) -> str:
    """0.025 as `2.5 %`, for an axis of shares."""
    return f"{100 * share:g} %".replace("-", "−")


def latents(ax: Axes, most: int = 12) -> None:
    """Logarithmic x axis of n with at most `most` ticks at powers of two: 12 for a whole column, 6 for half of one."""
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_locator(LogLocator(base=2, numticks=most))
    ax.xaxis.set_major_formatter(LogFormatterMathtext(base=2))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("number of latents n")
