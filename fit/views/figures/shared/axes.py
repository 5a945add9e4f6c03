"""Logarithmic axes with few, readable ticks in one notation for each quantity, shared by the figures."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

# Predicting the mean gives an NMSE of 1. Only the first steps and diverged runs lie far above; they would flatten the
# rest.
TOP = 1.5
_FAMILIES = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9))


def _ticks(low: float, high: float, fewest: int = 3, most: int = 6) -> list[float]:
    """Between `fewest` and `most` round numbers in [low, high], low > 0."""
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for family in _FAMILIES:
        ticks = [float(f"{m}e{e}") for e in decades for m in family]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if fewest <= len(ticks) <= most:
            return ticks
    if high / low > 100:
        tens = [tick for tick in (10.0**e for e in decades) if low <= tick <= high]
        return tens[:: -(-len(tens) // most)]
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


def ratio(ax: Axes, values: Iterable[float]) -> None:
    """Logarithmic y axis of ratios, with ticks as plain decimals."""
    low, high = _limits(values)
    _logarithmic(ax, "y", low, high)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))


def quantity(ax: Axes, which: str, values: pd.Series | Sequence[float]) -> None:
    """Logarithmic axis `which`, x or y, that holds the positive values; ticks like 10^6 or 2·10^6."""
    _logarithmic(ax, which, *_limits(values))
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: power(value)))


def _limits(values: Iterable[float]) -> tuple[float, float]:
    known = np.asarray(pd.Series(list(values)).astype("float64"))
    known = known[np.isfinite(known) & (known > 0)]
    margin = max((known.max() / known.min()) ** 0.04, 1.05)
    return known.min() / margin, known.max() * margin


def power(value: float) -> str:
    """`10⁶` or `2·10⁶` in mathtext, for every value, so that no axis mixes 1,000 and 10⁴."""
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


def size_text(value: float, values: Iterable[float]) -> str:
    """n or a batch size as 2^11 if all of `values` are powers of two, else as 2,048."""
    if all(v > 0 and np.log2(v).is_integer() for v in values):
        return rf"$\mathdefault{{2^{{{int(np.log2(value))}}}}}$"
    return f"{value:,.0f}"


def powers_of_two(
    ax: Axes,
    which: str,
    values: Iterable[float],
    label: str | None = None,
    known: Iterable[float] = (),
    most: int = 6,
) -> None:
    """Logarithmic axis of n or of a batch size, with at most `most` ticks at powers of two.

    They are written as 2^11, or as 2,048 where one of `known`, the n of the study, is no power of two.
    """
    low, high = _limits(values)
    _logarithmic(ax, which, low, high)
    axis, label_axis = (ax.xaxis, ax.set_xlabel) if which == "x" else (ax.yaxis, ax.set_ylabel)
    twos = [2.0**e for e in range(int(np.ceil(np.log2(low))), int(np.floor(np.log2(high))) + 1)]
    written = list(known) or [1.0]
    if not all(v > 0 and np.log2(v).is_integer() for v in written):
        most = min(most, 4)
    twos = twos[:: max(1, -(-len(twos) // most))]
    axis.set_major_locator(FixedLocator(twos))
    axis.set_major_formatter(FuncFormatter(lambda value, _: size_text(value, written)))
    if label is not None:
        label_axis(label)


def latents(
    ax: Axes, values: Iterable[float], known: Iterable[float] = (), label: str = "number of latents n"
) -> None:
    """Logarithmic x axis of n: see `powers_of_two`."""
    powers_of_two(ax, "x", values, label, known)
