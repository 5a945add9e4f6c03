"""Loss over the batch size at equal compute, L(C), and at convergence, L(N), side by side (Gao et al., Fig. 12)."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fit.compute.slices import Curve, best_of
from fit.converged.runs import GROUPS, groups
from fit.data import tables
from fit.data.curves import candidates
from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import inputs, labels
from fit.views.figures.shared import style as styles
from fit.views.format import with_interval

COLUMNS = ["panel", "regime", "batch_tokens", "value", "nmse", "n_latents"]
REGIMES = {"compute": "L(C), lowest at equal compute", "converged": "L(N), converged"}
# The left panel draws a line at this many C, evenly spaced in ln C over the range that every batch size reaches.
BUDGETS = 5
WITHOUT_BATCH = [name for name in GROUPS if name != "batch_tokens"]


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers, a pair of panels for each k and data set; `value` is the C or the n of a line.

    compute: at each C that all batch sizes reach, the lowest loss of any curve of a batch size. converged: for each n
    and batch size, the lowest loss over lr. Raises inputs.Missing without two batch sizes, or without data for either
    panel.
    """
    known = inputs.finished(study.runs, "n_latents", "batch_tokens", "nmse")
    if known["batch_tokens"].nunique() < 2:
        raise inputs.Missing(
            "it needs runs of two batch sizes or more in the column batch_tokens; there is one."
        )
    flops = convention(study)
    parts = [(g, p) for g, p in groups(known, ["k"], WITHOUT_BATCH) if p["batch_tokens"].nunique() > 1]
    names = labels.group_names([inputs.named(group, part) for group, part in parts])
    of_part = [frontiers(part, study.curves, flops) for _, part in parts]
    budgets = _shared([curve for best in of_part for curve in best.values()])
    rows = [
        frame.assign(panel=name, regime=regime)
        for (_, part), name, best in zip(parts, names, of_part, strict=True)
        for regime, frame in (("compute", _compute(best, budgets)), ("converged", _converged(part)))
        if len(frame)
    ]
    if not rows:
        raise inputs.Missing(
            f"it needs two batch sizes at one k, with curves (columns run_id, {flops}, nmse) or converged runs."
        )
    table = pd.concat(rows, ignore_index=True).reindex(columns=COLUMNS)
    return table.astype(dict.fromkeys(COLUMNS[2:], "float64"))


def convention(study: StudyTables) -> str:
    """The column of C that L(C) was fitted to; the sparse convention if there is no fit."""
    conventions = [fit.flops for fit in study.fits if fit.law == "L_C"]
    return f"flops_{conventions[0] if conventions and conventions[0] else 'sparse'}"


def lowest_converged(part: pd.DataFrame) -> pd.DataFrame:
    """The converged run with the lowest loss of each n and batch size."""
    if "converged" in part.columns:
        part = part[tables.truths(part, "converged")[0]]
    return inputs.lowest(part, ["n_latents", "batch_tokens"])


def _converged(part: pd.DataFrame) -> pd.DataFrame:
    best = lowest_converged(part)
    best = best[best.groupby("n_latents")["batch_tokens"].transform("nunique") > 1]
    return best[["batch_tokens", "n_latents", "nmse"]].assign(value=best["n_latents"])


def frontiers(part: pd.DataFrame, curves: pd.DataFrame | None, flops: str) -> dict[float, Curve]:
    """The lowest loss of the curves of each batch size as a function of C; empty without curves."""
    if curves is None or not {"run_id", flops, "nmse"} <= set(curves.columns):
        return {}
    known = curves[curves["run_id"].isin(part["run_id"])].dropna(subset=[flops, "nmse"])
    known = known[(tables.numbers(known, flops) > 0) & (tables.numbers(known, "nmse") > 0)]
    known = known.drop(columns="batch_tokens", errors="ignore").merge(
        part[["run_id", "batch_tokens"]], on="run_id"
    )
    if known.empty:
        return {}
    pool = candidates(known, flops)
    sizes = pool.column("batch_tokens")
    return {} if sizes is None else best_of(pool, sizes, np.ones(len(sizes), dtype=bool))


def _shared(frontiers: list[Curve]) -> list[float]:
    """ln C of budgets that every batch size of every panel reaches; empty if no C is reached by all."""
    low = max((curve.log_c[0] for curve in frontiers), default=0.0)
    high = min((curve.log_c[-1] for curve in frontiers), default=0.0)
    return [float(at) for at in np.linspace(low, high, BUDGETS + 2)[1:-1]] if low < high else []


def _compute(best: Mapping[float, Curve], budgets: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        {"batch_tokens": B, "value": np.exp(log_c), "nmse": np.exp(curve.loss(log_c))}
        for log_c in budgets
        for B, curve in best.items()
    )


def draw(table: pd.DataFrame, study: StudyTables, style: str = "paper") -> Figure:
    """The figure of a table made by `numbers`; the exponent of each panel comes from the fits, if it is there."""
    names = list(dict.fromkeys(table["panel"]))
    with styles.applied(style) as look:
        cells = [(name, regime) for name in names for regime in REGIMES]
        heads = [", ".join(filter(None, [name, *_head(study, name, regime)])) for name, regime in cells]
        keys = {regime: _keys(table[table["regime"] == regime], regime) for regime in REGIMES}
        longest = max(map(len, keys.values()))
        figure, axes = scales.titled(heads, 2, look, words=3 + longest)
        for (name, regime), ax in zip(cells, axes, strict=True):
            rows = table[(table["panel"] == name) & (table["regime"] == regime)]
            _draw_panel(ax, rows, dict(zip(_values(table, regime), keys[regime], strict=True)))
            scales.quantity(ax, "x", table["batch_tokens"])
            scales.nmse(ax, table)
            ax.set_xlabel("batch size, tokens")
        scales.y_label(figure, axes, inputs.loss_label(study), look)
        spare = [[Line2D([], [], linestyle="none", label="")] * (longest - len(own)) for own in keys.values()]
        handles = [key for own, rest in zip(keys.values(), spare, strict=True) for key in [*own, *rest]]
        title = f"left: {REGIMES['compute']} ({convention(study)[6:]} FLOPs)\nright: {REGIMES['converged']}"
        figure.legend(handles=handles, loc="outside lower center", ncols=2, title=title)
    return figure


def _values(table: pd.DataFrame, regime: str) -> list[float]:
    """The C or n of the lines of one regime, over all panels."""
    return sorted(set(table.loc[table["regime"] == regime, "value"]))


def _head(study: StudyTables, panel: str, regime: str) -> list[str]:
    """`b 0.025 [0.017, 0.033]` of L ∝ B^b, for the group that the panel is named after."""
    compared = study.regimes.groups if study.regimes else ()
    names = labels.group_names([group.group for group in compared])
    for group, name in zip(compared, names, strict=True):
        tests = [test for test in group.batch if test.regime == regime and test.b is not None]
        if tests and (name == panel or len(compared) == 1):
            return [f"L ∝ B^b, b {with_interval(tests[0].b, tests[0].low, tests[0].high)}"]
    return []


def _keys(rows: pd.DataFrame, regime: str) -> list[Line2D]:
    values = sorted(set(rows["value"]))
    words = [
        f"C = {scales.power(float(f'{v:.2g}'))}" if regime == "compute" else f"n = {v:,.0f}" for v in values
    ]
    return [
        Line2D([], [], color=colour, marker="o", label=text)
        for text, colour in zip(words, styles.colours(len(values)) if values else [], strict=True)
    ]


def _draw_panel(ax: Axes, rows: pd.DataFrame, keys: Mapping[float, Line2D]) -> None:
    for value, key in keys.items():
        part = rows[rows["value"] == value].sort_values("batch_tokens")
        if len(part):
            ax.plot(part["batch_tokens"], part["nmse"], "o-", color=key.get_color(), clip_on=False)
