"""Draws every figure whose data is there; the others say in one line what they need."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
from matplotlib.figure import Figure

from fit.law.errors import FitError
from fit.views.figures import (
    ablations,
    activations,
    batch,
    budgets,
    dead,
    isoflop,
    l_c,
    l_n,
    l_nk,
    large_run,
    lr,
    optima,
    profiles,
    random_data,
    residuals,
    tokens,
)
from fit.views.figures import by_subject as subjects
from fit.views.figures import curves as curves_figure
from fit.views.figures import latents as latents_figure
from fit.views.figures.shared import save
from fit.views.figures.shared import style as styles


class FigureModule(Protocol):
    """What each figure's module offers: its numbers from the tables, and its drawing from the numbers."""

    def numbers(
        self, runs: pd.DataFrame | None, curves: pd.DataFrame | None, fits: Mapping[str, Any] | None
    ) -> pd.DataFrame: ...

    def draw(self, table: pd.DataFrame, fits: Any, style: str = "paper") -> Figure: ...


FIGURES: dict[str, FigureModule] = {
    "l_n": l_n,
    "l_nk": l_nk,
    "l_c": l_c,
    "curves": curves_figure,
    "activations": activations,
    "lr": lr,
    "subjects": subjects,
    "tokens": tokens,
    "batch": batch,
    "dead": dead,
    "ablations": ablations,
    "latents": latents_figure,
    "large_run": large_run,
    "random_data": random_data,
    "optima": optima,
    "isoflop": isoflop,
    "budgets": budgets,
    "residuals": residuals,
    "profiles": profiles,
}


def make(
    runs: pd.DataFrame | None,
    curves: pd.DataFrame | None,
    fits: Mapping[str, Any] | None,
    out: Path | str,
    only: Sequence[str] | None = None,
    style: str = "paper",
    say: Callable[[str], None] = print,
    latents: pd.DataFrame | None = None,
) -> list[Path]:
    """Writes each figure as PDF, PNG and CSV into `out` and returns the paths written.

    runs, curves, latents: the tables, or None. fits: the content of fits.json, or None. only: names of FIGURES.
    A figure that cannot be drawn is told through `say` in one line and stops no other. Raises FitError for an unknown
    figure or style.
    """
    styles.named(style)
    written: list[Path] = []
    for name in _chosen(only):
        try:
            module = FIGURES[name]
            table = numbers(name, runs, curves, fits, latents)
            paths = save.write(module.draw(table, fits, style), table, Path(out), name, style)
        except FitError as error:
            say(f"{name} skipped: {error}")
        except Exception as error:  # a table of another make can break one figure in ways not foreseen here
            say(f"{name} skipped: it failed with {type(error).__name__}: {' '.join(str(error).split())}")
        else:
            written += paths
            for path in paths:
                say(f"wrote {path}")
    return written


def numbers(
    name: str,
    runs: pd.DataFrame | None,
    curves: pd.DataFrame | None,
    fits: Mapping[str, Any] | None,
    latents: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The numbers of one figure; only the histograms of latents need the third table."""
    if name == "latents":
        return latents_figure.numbers(runs, curves, fits, latents)
    return FIGURES[name].numbers(runs, curves, fits)


def _chosen(only: Sequence[str] | None) -> Sequence[str]:
    unknown = [name for name in only or () if name not in FIGURES]
    if unknown:
        raise FitError(f"There is no figure {unknown[0]!r}: choose among {', '.join(FIGURES)}.")
    return [name for name in FIGURES if not only or name in only]
