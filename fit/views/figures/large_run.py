"""The run of the largest n over tokens against the laws fitted without it (Gao et al. 2024, Fig. 26)."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import inputs, labels
from fit.views.figures.shared import style as styles

COLUMNS = ["panel", "series", "run_id", "n_latents", "k", "tokens", "nmse", "low", "high"]
LAWS = {"L_N": "L(N)", "L_NK": "L(N, K)"}


def numbers(
    runs: pd.DataFrame | None, curves: pd.DataFrame | None, fits: Mapping[str, Any] | None
) -> pd.DataFrame:
    """The plotted numbers, a panel for each group of L_N, or of L_NK without: series run, L(N) and L(N, K).

    A law's row is what it predicts of the largest n, fitted to the smaller ones, with the 95 % interval of a run.
    Raises inputs.Missing without such a prediction, or without the curve of a run that it is about.
    """
    del runs
    known = inputs.columns(curves, "curves", "n_latents", "tokens", "nmse")
    found = _predictions(fits)
    if not found:
        raise inputs.Missing("it needs a fit of L_N or L_NK that held out its largest n, and predicted it.")
    rows: list[pd.DataFrame] = []
    for (name, n, k), laws in found.items():
        run_id = next((law["run_id"] for law in laws if law["run_id"] in set(known["run_id"])), None)
        if run_id is None:
            continue
        run = known[known["run_id"] == run_id].sort_values("tokens").assign(series="run")
        table = pd.concat([run[["series", "tokens", "nmse"]], pd.DataFrame(laws)])
        rows.append(table.assign(panel=name, run_id=run_id, n_latents=n, k=k))
    if not rows:
        raise inputs.Missing(
            "it needs the curve of a run that was held out: fits.json and the table curves share no run_id of one."
        )
    table = pd.concat(rows, ignore_index=True).reindex(columns=COLUMNS)
    return table.astype(dict.fromkeys(COLUMNS[3:], "float64"))


def _predictions(fits: Mapping[str, Any] | None) -> dict[tuple[str, float, Any], list[dict[str, Any]]]:
    """Panel, n and k to the predictions of each law; run_id is that of the measured point."""
    found: dict[tuple[str, float, Any], list[dict[str, Any]]] = {}
    laws = [fit for fit in (fits or {}).get("fits", []) if fit["law"] in LAWS and fit.get("held_out")]
    ks = [
        (fit, point, point.get("k", (fit.get("group") or {}).get("k")))
        for fit in laws
        for point in _largest(fit)
    ]
    groups = [{"group": {**(fit.get("group") or {}), "k": k}} for fit, _, k in ks]
    for (fit, point, k), name in zip(ks, labels.group_names(groups), strict=True):
        n = point["n_latents"]
        same = [p for p in fit["points"] if p["n_latents"] == n and p.get("k", k) == k]
        law = {
            "series": LAWS[fit["law"]],
            "nmse": point["predicted"],
            "low": point["low"],
            "high": point["high"],
        }
        law["run_id"] = same[0].get("run_id") if same else None
        found.setdefault((name, n, k), []).append(law)
    return found


def _largest(fit: inputs.Fit) -> list[Mapping[str, Any]]:
    points = fit["held_out"].get("points", [])
    return [p for p in points if p["n_latents"] == max(q["n_latents"] for q in points)]


def draw(table: pd.DataFrame, fits: Mapping[str, Any] | None, style: str = "paper") -> Figure:
    """The figure of a table made by `numbers`."""
    del fits
    names = list(dict.fromkeys(table["panel"]))
    drawn = [law for law in LAWS.values() if law in set(table["series"])]
    colours = dict(zip(drawn, styles.colours(3)[1:], strict=False))
    with styles.applied(style) as look:
        n = {name: table.loc[table["panel"] == name, "n_latents"].iloc[0] for name in names}
        heads = [", ".join(filter(None, [name, f"n = {n[name]:,.0f}"])) for name in names]
        figure, axes = scales.titled(heads, look.abreast if len(names) < 4 else 2, look, words=4)
        for name, ax in zip(names, axes, strict=True):
            _draw_panel(ax, table[table["panel"] == name], colours, look)
            scales.quantity(ax, "x", table["tokens"].dropna())
            scales.nmse(ax, table)
            ax.set_xlabel("tokens")
        scales.y_label(figure, axes, "normalized MSE", look)
        keys = [Line2D([], [], color="black", label="the run of the largest n")]
        words = "fitted to the smaller n, 95 % interval of a run"
        keys += [
            Line2D([], [], color=c, linestyle="--", label=f"{law}, {words}") for law, c in colours.items()
        ]
        figure.legend(handles=keys, loc="outside lower center")
    return figure


def _draw_panel(ax: Axes, rows: pd.DataFrame, colours: Mapping[str, str], look: styles.Style) -> None:
    run = rows[rows["series"] == "run"]
    for law, colour in colours.items():
        for _, row in rows[rows["series"] == law].iterrows():
            ax.axhline(row["nmse"], color=colour, linestyle="--", linewidth=0.8 * look.line)
            if pd.notna(row["low"]) and pd.notna(row["high"]):
                ax.axhspan(row["low"], row["high"], color=colour, alpha=0.2, linewidth=0)
    ax.plot(run["tokens"], run["nmse"], color="black")
