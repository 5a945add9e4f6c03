"""L∞ over the learning rate for each n, with the optimum of each and the law lr*(n) (Gao et al. 2024, Fig. 3)."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from fit.converged.lr import comparable, lr_optima
from fit.converged.runs import GROUPS, groups
from fit.converged.tails import loss_column
from fit.converged.tokens import to_convergence
from fit.data import tables
from fit.law.errors import FitError
from fit.law.result import FitResult
from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import captions, inputs, labels, layout, run_marks
from fit.views.figures.shared import style as styles
from fit.views.figures.shared.colours import Colours
from fit.views.figures.shared.style import Style, sizes

COLUMNS = ["panel", "series", "n_latents", "lr", "nmse", "tokens", "low", "high", "loss", "run_id"]
# What nmse is, in the column `loss`.
LIMITS, ENDS = "L∞", "last loss"


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers, a panel for each group: the series run (`tokens`: to convergence), optimum and law.

    Only converged runs are plotted, with the geometric mean over seeds. nmse is their L∞, as for LR_N and the lr* of
    `fit.regimes`, or their last loss where too few tails of a panel or of an n are known; `loss` says which. law:
    lr*(n) with low and high, drawn at the nmse of the optimum. Raises inputs.Missing if no n has runs at three lr.
    """
    known = inputs.finished(study.runs, "n_latents", "lr", "nmse")
    if "converged" in known.columns:
        known = known[tables.truths(known, "converged")[0]]
    parts = [(group, part) for group, part in groups(known, ["k"], GROUPS) if len(part)]
    names = labels.group_names([inputs.named(group, part) for group, part in parts])
    rows = [
        _panel(part, study.curves, _law(group, study.fits)).assign(panel=name)
        for (group, part), name in zip(parts, names, strict=True)
        if part.groupby("n_latents")["lr"].nunique().max() >= 3
    ]
    if not rows:
        raise inputs.Missing(
            "it needs converged runs of one n_latents at three lr or more in the table runs."
        )
    table = pd.concat(rows, ignore_index=True).reindex(columns=COLUMNS)
    return table.astype(dict.fromkeys(COLUMNS[2:-2], "float64"))


def on(
    ax: Axes, table: pd.DataFrame, study: StudyTables, panel: str | None = None, named: bool = True
) -> None:
    """Draw one group of a table made by `numbers` on any axes, by default the first.

    named: whether the scale of n is written into it. `with_tokens` adds the tokens to convergence.
    """
    panel = table["panel"].iloc[0] if panel is None else panel
    colour = Colours.by_n(study, table["n_latents"])
    scales.quantity(ax, "x", table["lr"])
    scales.nmse(ax, table[["nmse"]])
    ax.set_xlabel("learning rate")
    rows = table[table["panel"] == panel]
    ax.set_ylabel(_loss_label(rows, study))
    _draw_panel(ax, rows, colour)
    if named:
        colour.key(ax)


def with_tokens(ax: Axes, table: pd.DataFrame, panel: str) -> None:
    """Write the tokens to convergence at the points of a panel that `on` has drawn, where there is room."""
    rows = table[table["panel"] == panel]
    known = rows[rows["tokens"].notna()]
    texts = [labels.short(tokens) for tokens in known["tokens"]]
    _label_points(ax, known["lr"], known["nmse"], texts, _avoid(rows))


def draw(table: pd.DataFrame, study: StudyTables, style: str | Style = "paper") -> Figure:
    """The figure of a table made by `numbers`, a panel for each group; only the first has the scale of n.

    Where the loss of some panels is L∞ and that of others the last one, the titles say which.
    """
    names = labels.in_order(table["panel"])
    kinds = {name: " or ".join(dict.fromkeys(part["loss"])) for name, part in table.groupby("panel")}
    differ = len(set(kinds.values())) > 1
    titles = [f"{name}: {kinds[name]}" if differ else name for name in names]
    panels = [
        layout.Panel(title, partial(on, table=table, study=study, panel=name, named=i == 0))
        for i, (title, name) in enumerate(zip(titles, names, strict=True))
    ]
    figure = layout.sheet(panels, style, titles=True)
    with styles.applied(style):
        for ax in figure.axes:
            if ax.get_ylabel():  # it stands for all panels of its row
                ax.set_ylabel(_loss_label(table, study))
        for ax, name in zip(figure.axes, names, strict=False):
            with_tokens(ax, table, name)
    return figure


def _loss_label(rows: pd.DataFrame, study: StudyTables) -> str:
    """The label of the y axis: `L∞, normalized MSE`, `L∞ or last loss, …`, or `converged …` for last losses alone."""
    kinds = set(rows["loss"])
    if kinds == {ENDS}:
        return inputs.loss_label(study, converged=True)
    name = LIMITS if kinds == {LIMITS} else f"{LIMITS} or {ENDS}"
    return f"{name}, {inputs.loss_label(study)}"


def caption(table: pd.DataFrame, study: StudyTables) -> captions.Caption:
    """What the figure shows, and the law of the best learning rate."""
    drawn = set(table["series"])
    loss = {
        frozenset([LIMITS]): "The loss at convergence, L∞,",
        frozenset([ENDS]): "The last loss of converged runs",
    }.get(
        frozenset(table["loss"]),
        "The loss at convergence, L∞, or where too few tails are known the last loss of converged runs,",
    )
    parts = [f"{loss} over the learning rate, for each number of latents n."]
    parts += ["Stars: lr* of each n, the vertex of a parabola."] * ("optimum" in drawn)
    parts += ["Dashed: the law lr*(n) with its 95 % band."] * ("law" in drawn)
    parts += ["Numbers: tokens to convergence, where there is room."] * bool(table["tokens"].notna().any())
    laws = [fit for fit in study.fits if fit.law == "LR_N" and fit.curve] if "law" in drawn else []
    return captions.caption(" ".join(parts), study, laws)


def _panel(part: pd.DataFrame, curves: pd.DataFrame | None, law: FitResult | None) -> pd.DataFrame:
    """Runs, optima and law of one group."""
    tokens = _tokens(part, curves)
    compared = comparable(part, curves)
    loss = loss_column(compared.rows)
    part = compared.rows.assign(to=compared.rows.index.map(tokens), nmse=compared.rows[loss])
    cell = part.assign(log_l=np.log(part["nmse"])).groupby(["n_latents", "lr"], as_index=False)
    points = cell.agg(log_l=("log_l", "mean"), tokens=("to", "median"), run_id=("run_id", run_marks.joined))
    points = points.assign(series="run", nmse=np.exp(points["log_l"]))
    best = lr_optima(part)[0].assign(series="optimum")
    frames = pd.concat([frame for frame in (points, best, _along(best, law)) if len(frame)])
    ends = frames["n_latents"].isin(compared.by_last_loss) | (loss == "nmse")
    return frames.assign(loss=np.where(ends, ENDS, LIMITS))


def _tokens(part: pd.DataFrame, curves: pd.DataFrame | None) -> dict[Any, float]:
    """The tokens to convergence by the index of the run, for the runs where they are known."""
    try:
        found, _ = to_convergence(part, curves)
    except FitError:
        return {}
    return dict(zip(found.index, found["tokens"].astype(float), strict=True))


def _law(group: Mapping[str, Any], fits: Sequence[FitResult]) -> FitResult | None:
    """The fit of lr*(n) to this group."""
    laws = (fit for fit in fits if fit.law == "LR_N" and fit.curve)
    return next((fit for fit in laws if dict(fit.group) == dict(group)), None)


def _along(best: pd.DataFrame, law: FitResult | None) -> pd.DataFrame:
    """The law's lr and its interval at the n of each optimum."""
    if law is None or best.empty:
        return pd.DataFrame()
    rows = [(p.inputs["n_latents"], p.value, p.low, p.high) for p in law.curve]
    curve = np.log(pd.DataFrame(rows, columns=["n_latents", "lr", "low", "high"], dtype="float64"))
    x = np.log(best["n_latents"].to_numpy(dtype=float))
    at = {name: np.exp(np.interp(x, curve["n_latents"], curve[name])) for name in ("lr", "low", "high")}
    return best.assign(series="law", **at)


def _draw_panel(ax: Axes, rows: pd.DataFrame, colour: Colours) -> None:
    look = sizes()
    parts = {series: part.sort_values(["n_latents", "lr"]) for series, part in rows.groupby("series")}
    for n, part in parts["run"].groupby("n_latents"):
        shade = colour(float(str(n)))
        (line,) = ax.plot(part["lr"], part["nmse"], ".-", color=shade, linewidth=0.7 * look.line)
        run_marks.stand_for_runs(line, part)
    if "law" in parts:
        law = parts["law"].sort_values("nmse")
        ax.fill_betweenx(law["nmse"], law["low"], law["high"], color="black", alpha=0.12, linewidth=0)
        ax.plot(law["lr"], law["nmse"], "--", color="black", linewidth=0.8 * look.line)
    if "optimum" in parts:
        ax.plot(
            parts["optimum"]["lr"], parts["optimum"]["nmse"], "*", color="black", markersize=1.6 * look.marker
        )


def _avoid(rows: pd.DataFrame) -> list[tuple[float, float]]:
    """Points on the stars and along the dashed law."""
    stars = rows[rows["series"] == "optimum"][["lr", "nmse"]]
    law = np.log(rows[rows["series"] == "law"].sort_values("nmse")[["lr", "nmse"]].to_numpy(dtype=float))
    at = np.linspace(0, len(law) - 1, 20 * len(law))
    line = [np.exp(np.interp(at, np.arange(len(law)), law[:, i])) for i in (0, 1)] if len(law) else [[], []]
    points = [*stars.to_numpy(dtype=float), *zip(*line, strict=True)]
    return [(float(x), float(y)) for x, y in points]


def _label_points(
    ax: Axes,
    x: Iterable[float],
    y: Iterable[float],
    texts: Sequence[str],
    avoid: Sequence[tuple[float, float]] = (),
) -> None:
    """Write each text above or below its point, where it stays in the panel and covers neither a text nor a point.

    Texts without such a place are left out. The figure is laid out first, and the texts do not affect its layout.
    avoid: further points (x, y) that no text may cover.
    """
    x, y = list(x), list(y)
    figure = ax.get_figure(root=True)
    assert figure is not None
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    points = ax.transData.transform(np.column_stack([x, y])) if texts else np.empty((0, 2))
    size = 0.8 * sizes().small
    others = ax.transData.transform(np.array(avoid)) if len(avoid) else np.empty((0, 2))
    taken: list[Bbox] = [_around(float(px), float(py), 2.0) for px, py in [*points, *others]]
    taken += [text.get_window_extent(renderer) for text in ax.texts]
    for bar in (bar for bar in ax.collections if isinstance(bar, LineCollection)):
        taken += [Bbox(bar.get_transform().transform(segment)).padded(2) for segment in bar.get_segments()]
    for data_x, data_y, own, text in zip(x, y, taken[: len(points)], texts, strict=True):
        for place, offset in (("bottom", 0.35), ("top", -0.35)):
            word = ax.annotate(
                text,
                (data_x, data_y),
                xytext=(0, offset * size),
                textcoords="offset points",
                fontsize=size,
                color="0.25",
                ha="center",
                va=place,
            )
            word.set_in_layout(False)
            box = word.get_window_extent(renderer)
            inside = (
                ax.bbox.x0 <= box.x0
                and box.x1 <= ax.bbox.x1
                and ax.bbox.y0 <= box.y0
                and box.y1 <= ax.bbox.y1
            )
            if inside and not any(box.overlaps(other) for other in taken if other is not own):
                taken.append(box)
                break
            word.remove()


def _around(x: float, y: float, radius: float) -> Bbox:
    return Bbox.from_extents(x - radius, y - radius, x + radius, y + radius)
