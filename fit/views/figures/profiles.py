"""Profiles of the exponents: how much worse the best fit becomes when an exponent is held at another value."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.optimize import least_squares
from scipy.stats import f as fisher

from fit.law.intervals.profile import LEVEL
from fit.law.law import Array, Law
from fit.law.laws import LAWS
from fit.law.points import Point
from fit.law.result import FitResult
from fit.study.study_tables import StudyTables
from fit.views.figures.shared import axes as scales
from fit.views.figures.shared import captions, identity, inputs, labels, layout
from fit.views.figures.shared.style import Style, sizes
from fit.views.format import greek

COLUMNS = ["panel", "fit", "value", "ratio", "rise", "low", "high", "method"]
# Which parameters of each law are exponents; a power law of two parameters has a parabola for a profile.
EXPONENTS = {"L_N": ("alpha",), "L_NK": ("beta_n", "gamma"), "L_C": ("alpha",), "L_ND": ("alpha", "beta")}
STEPS = 16  # to each side
MOST_ROWS = 400  # an even sample of a longer fit
TOP = 2.5  # the profile is followed up to this many times the rise that bounds the 95 % interval


def numbers(study: StudyTables) -> pd.DataFrame:
    """The plotted numbers, a panel for each law and exponent: ratio, the deviance over the least, by `value`.

    The law is refitted to the points in fits.json with all other parameters free. rise: (ratio − 1)·ν/F, which is 1 at
    the ends of a 95 % profile interval. low, high: the interval that the fit reports, found by `method`; it differs
    from the profile interval for bootstraps and if rows share runs. Raises inputs.Missing unless one of these laws was
    fitted by least squares on logarithms.
    """
    rows: list[dict[str, Any]] = []
    for name, exponents in EXPONENTS.items():
        fits = [fit for fit in study.fits if fit.law == name and _usable(fit)]
        for fit, group in zip(fits, labels.fit_names(fits), strict=True):
            for exponent in exponents:
                head = f"{greek(exponent)} of {fit.formula.split(' = ')[0]}"
                rows += [{**row, "panel": head, "fit": group} for row in _profile(fit, LAWS[name], exponent)]
    if not rows:
        raise inputs.Missing(
            f"it needs a fit of one of the laws {', '.join(EXPONENTS)} by least squares on logs: "
            "run `saescale fit TABLE`."
        )
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    return table.astype(dict.fromkeys(COLUMNS[2:-1], "float64"))


def _usable(fit: FitResult) -> bool:
    """Whether the fit used logarithms, all its parameters are known, and it has more points than parameters."""
    known = all(p.value is not None for p in fit.params.values())
    return fit.loss.startswith("least squares on log") and known and len(fit.points) > len(fit.params)


def _profile(fit: FitResult, law: Law, exponent: str) -> list[dict[str, Any]]:
    """The profile on both sides of the fitted value; each refit starts from the previous one."""
    some = np.unique(np.linspace(0, len(fit.points) - 1, MOST_ROWS).round().astype(int))
    points = [fit.points[i] for i in some]
    refit = _Refit(law, exponent, points)
    at = refit.fit(refit.start(fit), None)
    least, best = refit.deviance(at), float(at[refit.index])
    dof = max(len(points) - len(law.internal), 1)
    rise = float(fisher.ppf(LEVEL, 1, dof)) / dof
    param = fit.params[exponent]
    reported = {"low": param.low, "high": param.high, "method": param.method}
    step = refit.step(at, best, least * TOP * rise)
    rows = [{"value": best, "ratio": 1.0, "rise": 0.0, **reported}]
    for side in (-1, 1):
        theta = at
        for i in range(1, STEPS + 1):
            value = best + side * step * i
            theta = refit.fit(theta, value)
            ratio = refit.deviance(theta) / least
            rows.append({"value": value, "ratio": ratio, "rise": (ratio - 1) / rise, **reported})
            if ratio > 1 + TOP * rise:
                break
    return sorted(rows, key=lambda row: float(row["value"]))


class _Refit:
    """Least squares of the logarithms over all parameters but one; θ is internal, with logarithms of E and A."""

    def __init__(self, law: Law, exponent: str, points: Sequence[Point]) -> None:
        self.law, self.index = law, law.internal.index(exponent)
        self.x = {name: np.array([p.inputs[name] for p in points], dtype=float) for name in law.inputs}
        self.log_y = np.log(np.array([p.response for p in points], dtype=float))
        self.root = np.sqrt(np.array([p.weight for p in points], dtype=float))

    def start(self, fit: FitResult) -> Array:
        """The fitted parameters; a floor of 0 is replaced by a negligibly small one, from which it can rise."""
        tiny = 1e-6 * float(np.exp(self.log_y.min()))
        values = {name: p.value for name, p in fit.params.items() if p.value is not None}
        return self.law.theta({n: max(v, tiny) if n in self.law.logs else v for n, v in values.items()})

    def residuals(self, theta: Array) -> Array:
        values = {name: float(value) for name, value in self.law.values(theta).items()}
        with np.errstate(all="ignore"):
            residuals = self.root * (np.log(self.law.loss(values, self.x)) - self.log_y)
        return np.nan_to_num(residuals, nan=1e3, posinf=1e3, neginf=-1e3)

    def deviance(self, theta: Array) -> float:
        return float((self.residuals(theta) ** 2).sum())

    def fit(self, theta: Array, value: float | None) -> Array:
        """The best θ with the exponent held at `value`, or free if `value` is None."""
        free = np.array([i for i in range(len(theta)) if value is None or i != self.index])
        whole = theta.copy()
        if value is not None:
            whole[self.index] = value

        def residuals(part: Array) -> Array:
            at = whole.copy()
            at[free] = part
            return self.residuals(at)

        whole[free] = least_squares(residuals, whole[free], method="trf", x_scale="jac", max_nfev=200).x
        return whole

    def step(self, theta: Array, best: float, rise: float) -> float:
        """1/STEPS of the distance at which the profile, taken as a parabola, has risen by `rise`."""
        off = 0.02 * max(abs(best), 0.05)
        risen = [self.deviance(self.fit(theta, best + side * off)) - self.deviance(theta) for side in (-1, 1)]
        curved = max(float(np.mean(risen)), 1e-12 * rise)
        return off * float(np.clip(np.sqrt(rise / curved), 0.1, 60.0)) / STEPS


def on(ax: Axes, table: pd.DataFrame, study: StudyTables, panel: str | None = None) -> None:
    """Draw one exponent of a table made by `numbers` on any axes, by default the first."""
    panel = table["panel"].iloc[0] if panel is None else panel
    rows, size, marks = table[table["panel"] == panel], sizes(), _marks(table, study)
    ax.axhline(1, color="0.5", linestyle=":", linewidth=0.8 * size.line)
    ax.set_ylim(-0.05, 1.02 * TOP)
    ax.xaxis.set_major_locator(scales.few(4))
    ax.set_xlabel(panel)
    ax.set_ylabel("rise of the deviance")
    for i, name in enumerate(dict.fromkeys(rows["fit"])):
        part, mark = rows[rows["fit"] == name], marks[name]
        ax.plot(part["value"], part["rise"], mark.line, color=mark.colour, label=name or None)
        first = part.iloc[0]
        if pd.notna(first["low"]) and pd.notna(first["high"]):
            height = [0.03 + 0.03 * i] * 2  # in the panel: one bar above another
            at = ax.get_xaxis_transform()
            ends = [first["low"], first["high"]]
            ax.plot(ends, height, color=mark.colour, linewidth=1.6 * size.line, transform=at)


def draw(table: pd.DataFrame, study: StudyTables, style: str | Style = "paper") -> Figure:
    """The figure of a table made by `numbers`, a panel for each law and exponent."""
    panels = [
        layout.Panel(name, partial(on, table=table, study=study, panel=name))
        for name in dict.fromkeys(table["panel"])
    ]
    key = [
        Line2D([], [], color=mark.colour, linestyle=mark.line, label=name or "all rows")
        for name, mark in _marks(table, study).items()
    ]
    return layout.sheet(panels, style, share="y", key=key)


def caption(table: pd.DataFrame, study: StudyTables) -> captions.Caption:
    """What the figure shows."""
    text = (
        "Profiles of the exponents: the rise of the deviance of the best refit with the exponent held at another "
        "value. Dotted: the ends of a 95 % profile interval if the rows were independent; bars: the 95 % interval "
        "reported."
    )
    return captions.caption(text, study)


def _marks(table: pd.DataFrame, study: StudyTables) -> dict[str, identity.Mark]:
    """The mark of each fit by its name; a fit of all k is grey."""
    names = list(dict.fromkeys(table["fit"]))
    groups: dict[str, dict[str, Any]] = {}
    for law in EXPONENTS:
        fits = [fit for fit in study.fits if fit.law == law and _usable(fit)]
        groups |= {
            n: dict(f.group) for f, n in zip(fits, labels.fit_names(fits), strict=True) if n not in groups
        }
    found = identity.marks([groups.get(name, {}) for name in names], study)
    return {n: mark if groups.get(n) else identity.Mark("0.3") for n, mark in zip(names, found, strict=True)}
