"""A figure for each law that both studies have: their points, curves and laws over one another, a panel for each k."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fit.data.flops import described
from fit.law.errors import FitError
from fit.law.result import FitResult
from fit.study.study_tables import StudyTables
from fit.views.figures.laws import l_c
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import labels, layout, series
from fit.views.figures.shared.identity import Mark
from fit.views.figures.shared.run_marks import stand_for_runs
from fit.views.figures.shared.style import sizes
from fit.views.page.drawings import STYLE, WIDE_PT, Drawing, Figures, Missing, inline
from fit.views.page.marked_runs import SIDE, RunRows
from fit.views.page.pair.sides import FitPair, Pair, together
from fit.views.page.runs import ordered

# Of Okabe and Ito, whose colours colour-blind readers tell apart; grey tells the dashes and the markers apart.
MARKS = (Mark("#0072B2", "-", "o"), Mark("#D55E00", "--", "s"))
TEXTS = {"n_latents": "number of latents n", "tokens": "tokens", "lr": "learning rate"}


@dataclass(frozen=True)
class Overlay:
    """One panel: the rows of both laws, told apart by `side`."""

    title: str
    rows: pd.DataFrame
    x: str
    y: str


def figures(pair: Pair) -> Figures:
    """A drawing for each law, and why for each law that cannot be drawn over one another."""
    rows = RunRows(ordered(together(pair)))
    drawn: list[Drawing] = []
    missing: list[Missing] = []
    for law in dict.fromkeys(each.law for each in pair.fits):
        fits = [each for each in pair.fits if each.law == law]
        missing += [
            Missing(", ".join(filter(None, [law, each.name])), each.refusal) for each in fits if each.refusal
        ]
        fits = [each for each in fits if not each.refusal and each.a.curve and each.b.curve]
        if not fits:
            continue
        try:
            panels = [panel for each in fits for panel in overlays(each, pair)]
            figure = draw(panels, fits[0], pair)
            svg, width = inline(
                figure, law, f"{fits[0].formula}, of {pair.a.name} and of {pair.b.name}.", rows
            )
        except FitError as error:
            missing.append(Missing(law, str(error)))
        else:
            drawn.append(Drawing(law, svg, caption(fits, panels, pair), width > WIDE_PT))
    reason = "" if pair.fits else "no law was fitted to the same k of both studies."
    return Figures(tuple(drawn), tuple(missing), reason)


def overlays(fits: FitPair, pair: Pair) -> list[Overlay]:
    """The panels of one pair of fits: one, or of a law of n and k one for each k that both have."""
    x, y = fits.a.inputs[0], fits.a.response
    parts = []
    for side, fit in zip(pair.sides, (fits.a, fits.b), strict=True):
        rows = series.table(series.rows(fit, fits.name, x, y), x, y)
        parts.append(pd.concat([rows, _curves(side.report.tables, fit)]).assign(**{SIDE: side.name}))
    table = pd.concat(parts, ignore_index=True)
    if "k" not in fits.a.inputs[1:]:
        return [Overlay(fits.name, table, x, y)]
    laws = table[table["series"] == "law"]
    both = [k for k, part in laws.groupby("k") if part[SIDE].nunique() == 2]
    if not both:
        raise FitError("there is no k that both were fitted at.")
    return [Overlay(f"k = {float(str(k)):g}", table[table["k"] == k], x, y) for k in both]


def _curves(tables: StudyTables, fit: FitResult) -> pd.DataFrame:
    """The training curves behind a fit of L(C); nothing for other laws, or without curves."""
    if fit.law != "L_C" or tables.curves is None:
        return pd.DataFrame()
    try:
        table = l_c.numbers(tables)
    except FitError:
        return pd.DataFrame()
    laws = [each for each in tables.fits if each.law == fit.law and each.curve]
    name = next(name for each, name in zip(laws, labels.fit_names(laws), strict=True) if each is fit)
    return table[(table["panel"] == name) & (table["series"] == "curve")]


def draw(panels: Sequence[Overlay], fits: FitPair, pair: Pair) -> Figure:
    """The figure of one law."""
    key = [
        Line2D(
            [],
            [],
            color=mark.colour,
            linestyle=mark.line,
            marker=mark.marker,
            label=labels.typeset(side.name),
        )
        for side, mark in zip(pair.sides, MARKS, strict=True)
    ]
    every = pd.concat([panel.rows for panel in panels])
    drawn = [
        layout.Panel(panel.title, partial(on, panel=panel, every=every, fit=fits.a, pair=pair))
        for panel in panels
    ]
    return layout.sheet(drawn, STYLE, key=key)


def on(ax: Axes, panel: Overlay, every: pd.DataFrame, fit: FitResult, pair: Pair) -> None:
    """Draw one panel. every: the rows of all panels, which share their scales."""
    x, y = panel.x, panel.y
    _scales(ax, every, x, y, fit)
    for side, mark in zip(pair.sides, MARKS, strict=True):
        rows = panel.rows[panel.rows[SIDE] == side.name]
        for _, run in rows[rows["series"] == "curve"].groupby("run_id", sort=False):
            (line,) = ax.plot(run[x], run[y], color=mark.colour, linewidth=0.4 * sizes().line, alpha=0.35)
            stand_for_runs(line, run.iloc[-1:])
        if (rows["series"] == "law").any():
            series.draw(ax, rows[rows["series"] != "curve"], mark, x, y)


def _scales(ax: Axes, rows: pd.DataFrame, x: str, y: str, fit: FitResult) -> None:
    ends = rows[["low", "high"]].clip(rows[y].min() / 2, rows[y].max() * 2)
    if x == "n_latents":
        scales.latents(ax, rows[x], sorted(set(rows.loc[rows["series"] == "run", x])))
    else:
        scales.quantity(ax, "x", rows[x].dropna())
        convention = described(fit.flops).removesuffix(" convention")
        ax.set_xlabel(f"compute C, FLOPs ({convention})" if x == "flops" else TEXTS.get(x, x))
    if y == "nmse":
        scales.nmse(ax, rows)
    else:
        scales.quantity(ax, "y", pd.concat([rows[y], ends["low"], ends["high"]]).dropna())
    ax.set_ylabel(fit.response_name if y == "nmse" else TEXTS.get(y, y))


def caption(fits: Sequence[FitPair], panels: Sequence[Overlay], pair: Pair) -> str:
    """What the figure shows, which of its laws their rows refute, and what speaks against the comparison."""
    curves = any((panel.rows["series"] == "curve").any() for panel in panels)
    parts = [
        f"{fits[0].formula}: {pair.a.name} solid with dots, {pair.b.name} dashed with squares; bands hold 95 %; "
        "hollow: the largest scale, predicted from the smaller ones."
    ]
    parts += ["Thin: the training curves."] * curves
    parts += [
        f"{side.name}{f', {each.name}' if each.name else ''}: {fit.refutation}"
        for each in fits
        for side, fit in zip(pair.sides, (each.a, each.b), strict=True)
        if fit.refutation
    ]
    parts += ["The two do not compare without more: see the cautions at the top."] * bool(pair.doubts)
    return " ".join(parts)
