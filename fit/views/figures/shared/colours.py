"""Colours by n, or another positive number, and their bar, shared by the panels of a figure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, Formatter, FuncFormatter, LogFormatterMathtext, NullLocator

from fit.data.vertex import short_number
from fit.views.figures.shared.axes import power
from fit.views.figures.shared.style import sequential


class Colours:
    """Colours by n, or another positive number, on a logarithmic scale, the same in every panel."""

    def __init__(self, values: pd.Series, label: str = "number of latents n") -> None:
        self.values, self.label = sorted({float(value) for value in values}), label
        low, high = self.values[0], self.values[-1]
        norm = LogNorm(low, high) if low < high else LogNorm(low / 2, high * 2)
        self.mappable = ScalarMappable(norm, sequential())

    def __call__(self, value: float) -> str:
        colour: Any = self.mappable.to_rgba(np.array([value]))[0]
        return to_hex(colour)

    def bar(self, figure: Figure, axes: Sequence[Axes]) -> None:
        """The colour bar at the right, with ticks at the values that occur, at most nine.

        They are written as 2^11 if all are powers of two below 10^9, else as 24,576 or 1.5·10^12.
        """
        bar = figure.colorbar(self.mappable, ax=axes, aspect=30, pad=0.02)
        shown = self.values[:: 1 + (len(self.values) - 1) // 9]
        bar.ax.yaxis.set_major_locator(FixedLocator(shown))
        bar.ax.yaxis.set_minor_locator(NullLocator())
        bar.ax.yaxis.set_major_formatter(self._formatter())
        bar.set_label(self.label)
        bar.outline.set_visible(False)

    def _formatter(self) -> Formatter:
        if self.values[-1] >= 1e9:
            return FuncFormatter(lambda value, _: power(float(f"{value:.2g}")))
        if all(np.log2(value).is_integer() for value in self.values):
            return LogFormatterMathtext(base=2)
        return FuncFormatter(lambda value, _: short_number(value))
