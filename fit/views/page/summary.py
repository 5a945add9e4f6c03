"""The top of the page: the name, the main result in one sentence, and the few numbers to know first."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fit.data.number_format import greek
from fit.views.page.cost import hours
from fit.views.page.fit_format import REGIMES, fit_name, held_out_error, held_out_inside, interval
from fit.views.page.render import MISSING
from fit.views.page.run_table import (
    as_floats,
    cell_text,
    converged_counts,
    counted,
    ended_count,
    known,
    states,
)
from fit.views.page.source import Fit, Source

# The laws whose exponent the first sentence gives, with their variable: of each regime the first one that was fitted.
LAWS = {
    "converged": (("L_N", "N"), ("L_N_pure", "N"), ("L_NK", "N")),
    "compute": (("L_C", "C"), ("L_C_pure", "C")),
}
EXPONENT = "alpha"
# More exponents than this are given as a range.
MOST_VALUES = 3


@dataclass(frozen=True)
class Trend:
    """How the loss falls in one regime: L ∝ variable^−exponent. exponent: its letter; values: with their intervals."""

    regime: str
    has_floor: bool
    variable: str
    exponent: str
    values: str


@dataclass(frozen=True)
class KeyFigure:
    """One number of the row below the first sentence, and what it is about."""

    name: str
    value: str
    about: str = ""


@dataclass(frozen=True)
class Summary:
    """formulas: the laws fitted, for a page without a trend. converged: `3 runs of 14`, None where it is not known."""

    name: str
    trends: tuple[Trend, ...]
    formulas: tuple[str, ...]
    converged: str | None
    key_figures: tuple[KeyFigure, ...]


def summary(source: Source) -> Summary:
    """The facts of the head of the page."""
    trends = [trend for regime in LAWS if (trend := _trend(source, regime))]
    count = converged_counts(source.runs)
    return Summary(
        name=source.name,
        trends=tuple(trends),
        formulas=tuple(dict.fromkeys(str(fit["formula"]) for fit in source.laws)),
        converged=f"{counted(count[0], 'run')} of {len(source.runs):,}" if count else None,
        key_figures=tuple(_key_figures(source)),
    )


def _trend(source: Source, regime: str) -> Trend | None:
    """The exponents of the first law of a regime that was fitted."""
    for law, variable in LAWS[regime]:
        fits = [fit for fit in source.laws if fit["law"] == law]
        exponents = [(name, param) for name, param in _exponents(fits) if param and known(param.get("value"))]
        if exponents:
            floor = not law.endswith("_pure")
            return Trend(REGIMES[regime], floor, variable, greek(EXPONENT), _values(exponents))
    return None


def _exponents(fits: Sequence[Fit]) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """The exponent of each fit, or at each k of a joint law, with the name of the fit or of k."""
    for fit in fits:
        if fit["law"] == "L_NK":
            yield from (
                (key[len(EXPONENT) + 1 : -1].replace("=", " = "), param)
                for key, param in (fit.get("derived") or {}).items()
                if key.startswith(f"{EXPONENT}(")
            )
        else:
            yield fit_name(fit), (fit.get("params") or {}).get(EXPONENT)


def _values(exponents: Sequence[tuple[str, Mapping[str, Any] | None]]) -> str:
    """`0.357 [0.340, 0.374] (k = 16) and …`, or the smallest and the largest of many."""
    if len(exponents) > MOST_VALUES:
        ordered = sorted(exponents, key=lambda item: item[1]["value"] if item[1] else 0.0)
        (first, low), (last, high) = ordered[0], ordered[-1]
        return f"{interval(low)} ({first}) to {interval(high)} ({last}) in {len(exponents)} fits"
    return " and ".join(interval(param) + (f" ({name})" if name else "") for name, param in exponents)


def _key_figures(source: Source) -> Iterator[KeyFigure]:
    """Ended and converged runs, the lowest loss, the held-out error, compute and time; what is unknown is left out."""
    runs = source.runs
    if "state" in runs.columns:
        yield KeyFigure("runs ended", f"{ended_count(runs):,} of {len(runs):,}")
    else:
        yield KeyFigure("rows", f"{len(runs):,}")
    converged = converged_counts(runs)
    if converged is not None:
        yield KeyFigure("converged", f"{converged[0]:,}", f"of {counted(sum(converged), 'run')} done")
    yield _lowest_loss(runs)
    yield from _held_out(source)
    flops = as_floats(runs, "flops_sparse").sum(min_count=1)
    if known(flops):
        yield KeyFigure("training compute", cell_text(flops, "flops"), "FLOPs, sparse convention")
    spent = hours(runs)
    if spent is not None:
        yield KeyFigure("time", cell_text(spent[0]), spent[1])


def _held_out(source: Source) -> Iterator[KeyFigure]:
    """How well the most general law predicts the largest scale, which was held out."""
    for law, name in (("L_NK", "L(N, K)"), ("L_N", "L(N)"), ("L_C", "L(C)")):
        for fit in source.laws:
            if fit["law"] == law and held_out_error(fit) != MISSING:
                inside = held_out_inside(fit).replace(MISSING, "")
                about = ", ".join(filter(None, [name, fit_name(fit), inside]))
                yield KeyFigure("held-out error", held_out_error(fit), about)
                return


def _lowest_loss(runs: pd.DataFrame) -> KeyFigure:
    """The lowest loss of a done run, and its n and k."""
    runs = runs[(states(runs) == "done") & as_floats(runs, "nmse").notna()]
    loss = as_floats(runs, "nmse")
    if loss.empty:
        return KeyFigure("lowest NMSE", MISSING, "no run is done")
    best = runs.iloc[int(loss.to_numpy().argmin())]
    letters = {"n": "n_latents", "k": "k"}
    place = [f"{letter} = {cell_text(best[c])}" for letter, c in letters.items() if c in runs.columns]
    return KeyFigure("lowest NMSE", cell_text(loss.min(), "nmse"), ", ".join(place))
