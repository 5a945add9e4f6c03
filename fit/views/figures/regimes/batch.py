"""Loss over the batch size at equal compute, L(C), and at convergence, L(N), side by side (Gao et al., Fig. 12)."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fit.compute.slices import Curve, best_of
from fit.converged.runs import GROUPS, groups
from fit.converged.tails import loss_column
from fit.data import tables
from fit.data.curves import candidates
from fit.law.options import DROP, FitOptions
from fit.law.selection import ConvergedSelection
from fit.regimes.batch import best_losses
from fit.regimes.compare import run_ends
from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import captions, identity, inputs, labels, layout
from fit.views.figures.shared.colours import Colours
from fit.views.figures.shared.style import Style
from fit.views.format import with_interval

COLUMNS = ["panel", "regime", "loss", "batch_tokens", "value", "nmse", "n_latents"]
# The column `loss`: the converged one is L∞ where the tails of the runs tell it, and else their last.
LIMIT, LAST, LOWEST = "L∞", "last", "lowest"
REGIMES = {"compute": "L(C), at equal compute", "converged": "L(N), converged"}
# The left panel draws a line at this many C, evenly spaced in ln C over the range that every batch size reaches.
BUDGETS = 5
WITHOUT_BATCH = [name for name in GROUPS if name != "batch_tokens"]


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers, a pair of panels for each k and data set; `value` is the C or the n of a line.

    compute: at each C that all batch sizes reach, the lowest loss of any curve of a batch size. converged: for each n
    and batch size, the loss at the best lr that the test of `fit.regimes.batch` compares: those at an edge of the lr
    are left out. Raises inputs.Missing without two batch sizes, or without data for either panel.
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
        for regime, frame in (("compute", _compute(best, budgets)), ("converged", _converged(part, study)))
        if len(frame)
    ]
    if not rows:
        raise inputs.Missing(
            f"it needs two batch sizes at one k, with curves (columns run_id, {flops}, nmse) or converged runs."
        )
    table = pd.concat(rows, ignore_index=True).reindex(columns=COLUMNS)
    return table.astype(dict.fromkeys(COLUMNS[3:], "float64"))


def convention(study: StudyTables) -> str:
    """The column of C that L(C) was fitted to; the sparse convention if there is no fit."""
    conventions = [fit.flops for fit in study.fits if fit.law == "L_C"]
    return f"flops_{conventions[0] if conventions and conventions[0] else 'sparse'}"


def _converged(part: pd.DataFrame, study: StudyTables) -> pd.DataFrame:
    ends = run_ends(part, study.curves, FitOptions(unconverged=_unconverged(study)))
    if ends.at_limits.empty:
        return pd.DataFrame()
    rows = [
        (each.batch_tokens, each.n_latents, np.exp(each.log_loss))
        for each in best_losses(ends.at_limits, ends.unconverged)
        if each.edge is None
    ]
    best = pd.DataFrame(rows, columns=["batch_tokens", "n_latents", "nmse"]).sort_values(
        ["n_latents", "batch_tokens"]
    )
    best = best[best.groupby("n_latents")["batch_tokens"].transform("nunique") > 1]
    by_limit = loss_column(ends.at_limits) != "nmse"
    return best.assign(value=best["n_latents"], loss=LIMIT if by_limit else LAST)


def _unconverged(study: StudyTables) -> str:
    """What the fits of the study did with runs that are not known to have converged."""
    asked = [
        fit.selection.unconverged_runs for fit in study.fits if isinstance(fit.selection, ConvergedSelection)
    ]
    return next(filter(None, asked), DROP)


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
        {"batch_tokens": B, "loss": LOWEST, "value": np.exp(log_c), "nmse": np.exp(curve.loss(log_c))}
        for log_c in budgets
        for B, curve in best.items()
    )


def on(
    ax: Axes, table: pd.DataFrame, study: StudyTables, regime: str = "compute", panel: str | None = None
) -> None:
    """Draw one panel of a table made by `numbers` on any axes: `compute` or `converged`, of one group."""
    panel = table["panel"].iloc[0] if panel is None else panel
    rows = table[(table["panel"] == panel) & (table["regime"] == regime)]
    colour = _colours(table, study, regime)
    sizes = identity.values(study, "batch_tokens", table["batch_tokens"])
    scales.powers_of_two(ax, "x", table["batch_tokens"], "batch size B, tokens", sizes)
    scales.nmse(ax, table)
    ax.set_ylabel(inputs.loss_label(study))
    if colour is None:
        return
    for value, part in rows.groupby("value"):
        part = part.sort_values("batch_tokens")
        ax.plot(part["batch_tokens"], part["nmse"], "o-", color=colour(float(str(value))), clip_on=False)
    if len(rows):
        colour.key(ax)


def _colours(table: pd.DataFrame, study: StudyTables, regime: str) -> Colours | None:
    """The colours of the budgets C, or of n."""
    values = table.loc[table["regime"] == regime, "value"]
    if values.empty:
        return None
    return Colours(values, "C", "flops") if regime == "compute" else Colours.by_n(study, values)


def draw(table: pd.DataFrame, study: StudyTables, style: str | Style = "paper") -> Figure:
    """The figure of a table made by `numbers`, two panels for each group."""
    names = labels.in_order(table["panel"])
    panels = [
        layout.Panel(
            ", ".join(filter(None, [name if len(names) > 1 else "", REGIMES[regime]])),
            partial(on, table=table, study=study, regime=regime, panel=name),
        )
        for name in names
        for regime in REGIMES
        if ((table["panel"] == name) & (table["regime"] == regime)).any()
    ]
    return layout.sheet(panels, style, share="xy")


def caption(table: pd.DataFrame, study: StudyTables) -> captions.Caption:
    """What the figure shows, with the exponent of each panel, if it is known."""
    exponents = [
        f"{', '.join(filter(None, [name, REGIMES[regime]]))}: {text}."
        for name in labels.in_order(table["panel"])
        for regime in REGIMES
        for text in _head(study, name, regime)
    ]
    drawn = set(table["regime"])
    left, right = ("left, ", "right") if len(drawn) == len(REGIMES) else ("", "")
    halves = {
        "compute": f"the lowest at equal compute C ({left}{convention(study)[6:]} FLOPs)",
        "converged": f"the converged one of each n at its best lr{_which_losses(table, right)}",
    }
    text = (
        f"The loss over the batch size B: {', and '.join(halves[each] for each in REGIMES if each in drawn)}."
    )
    if "converged" not in drawn:
        text += (
            " L(N) is not drawn: no n has two batch sizes with the lowest converged loss inside the lr tried."
        )
    return captions.caption(" ".join([text, *exponents]), study)


def _which_losses(table: pd.DataFrame, side: str) -> str:
    """In brackets, on which side the converged panels are and what their losses are."""
    texts = {LIMIT: "L∞, which the tails of the runs predict", LAST: "the last loss"}
    drawn = [texts[loss] for loss in dict.fromkeys(table["loss"]) if loss in texts]
    which = f"{' or '.join(drawn)}; losses at an edge of the lr are left out" if drawn else ""
    parts = ", ".join(filter(None, [side, which]))
    return f" ({parts})" if parts else ""


def _head(study: StudyTables, panel: str, regime: str) -> list[str]:
    """`b 0.025 [0.017, 0.033]` of L ∝ B^b, for the group that the panel is named after."""
    compared = study.regimes.groups if study.regimes else ()
    names = labels.group_names([group.group for group in compared])
    for group, name in zip(compared, names, strict=True):
        tests = [test for test in group.batch if test.regime == regime and test.b is not None]
        if tests and (name == panel or len(compared) == 1):
            return [f"L ∝ B^b, b {with_interval(tests[0].b, tests[0].low, tests[0].high)}"]
    return []
