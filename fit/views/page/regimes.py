"""The two regimes side by side: L(C), the best use of compute, and L(N), trained to convergence."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

from fit.compute.frontier import LOOSER
from fit.data.number_format import SYMBOLS, percent, significant
from fit.regimes.batch import Batch
from fit.regimes.lr_ratio import Ratio
from fit.views.page import fit_format
from fit.views.page.cells_format import known, shown
from fit.views.page.markup import MISSING, Html, formula, join, listed, table, tag, text
from fit.views.page.source import Fit, Source

SIDES = {"compute": ("L_C", "LR_C"), "converged": ("L_N", "LR_N")}


def against(source: Source) -> Html:
    """The section: a table a k, the ratio of the best learning rates, budgets, and the caution."""
    found = source.regimes
    caution = tag("p", (found or {}).get("caution") or LOOSER, class_="caution")
    if not found:
        both = {fit.get("regime") for fit in source.laws}
        have = " and ".join(name for regime, name in fit_format.REGIMES.items() if regime in both)
        lead = (
            f"Only laws {have} are fitted: there is nothing to compare." if have else "Neither has a law yet."
        )
        return join([tag("p", lead), caution if "compute" in both else ""])
    parts = [caution, *(_group(source, group, found) for group in found.get("groups") or [])]
    parts += [tag("p", reason, class_="note") for reason in found.get("reasons") or []]
    return join(parts)


def _group(source: Source, group: Mapping[str, Any], found: Mapping[str, Any]) -> Html:
    of = group.get("group") or {}
    name = ", ".join(f"{SYMBOLS.get(key, key)} = {shown(value)}" for key, value in of.items())
    mine = {side: _fits(source, law, of) for side, (law, _) in SIDES.items()}
    lrs = {side: _fits(source, law, of) for side, (_, law) in SIDES.items()}
    rows = [
        ["question", "the lowest loss for a budget", "the loss of n latents, whatever it costs"],
        ["law", *(_each(fits, _formula) for fits in mine.values())],
        ["exponent α", *(_each(fits, partial(_param, "alpha")) for fits in mine.values())],
        [
            "floor E",
            *(_each(fits, lambda fit: fit_format.interval(fit["params"].get("E"))) for fits in mine.values()),
        ],
        ["held-out error", *(_each(fits, fit_format.error) for fits in mine.values())],
        ["best learning rate", *(_each(fits, _lr) for fits in lrs.values())],
        ["batch size", *(_batch(group, side) for side in SIDES)],
    ]
    head = ["", "L(C): the best use of compute", "L(N): trained to convergence"]
    ratio = _made(Ratio, group.get("ratio") or {})
    lines = [*(ratio.lines() if ratio else []), *(group.get("reasons") or [])]
    return join(
        [
            tag("h3", name or "All runs"),
            table(f"The regimes{', ' + name if name else ''}", head, rows, (0, 1, 2)),
            listed([line.strip() for line in lines]),
            _floors(found, of.get("k")),
            _budgets(group.get("budgets") or [], name),
        ]
    )


def _fits(source: Source, law: str, of: Mapping[str, Any]) -> list[Fit]:
    """The fits of one law whose group does not contradict."""
    return [
        fit
        for fit in source.laws
        if fit["law"] == law and all((fit.get("group") or {}).get(k, v) == v for k, v in of.items())
    ]


def _each(fits: Sequence[Fit], say: Callable[[Fit], Any]) -> Html:
    """What is said of each fit, once; a dash where there is none."""
    return join(dict.fromkeys(text(say(fit)) for fit in fits), "; ") if fits else text(None)


def _formula(fit: Fit) -> Html:
    return formula(str(fit.get("formula")))


def _param(name: str, fit: Fit) -> str:
    return fit_format.interval((fit.get("params") or {}).get(name))


def _lr(fit: Fit) -> Html:
    each = [
        join([fit_format.symbol(name), " ", fit_format.interval(p)])
        for name, p in (fit.get("params") or {}).items()
    ]
    return join([_formula(fit), *each], ", ")


def _batch(group: Mapping[str, Any], regime: str) -> str:
    for raw in group.get("batch") or []:
        test = _made(Batch, raw)
        if test is not None and test.regime == regime:
            return " ".join(test.lines())
    return MISSING


def _made(kind: Any, raw: Mapping[str, Any]) -> Any:
    """The frozen result of plain data, None where fits.json is of another make."""
    wanted = {field.name for field in fields(kind)}
    try:
        return kind(**{name: value for name, value in raw.items() if name in wanted})
    except TypeError:
        return None


def _floors(found: Mapping[str, Any], k: Any) -> Html:
    texts = [
        f"{floor['law']} {fit_format.interval(floor)}"
        for floor in found.get("floors") or []
        if floor.get("k") == k
    ]
    return tag("p", "Floors: ", ", ".join(texts), ".") if texts else Html()


def _budgets(rows: Sequence[Mapping[str, Any]], name: str) -> Html:
    """n, both budgets, the token ratio and what the compute-optimal budget leaves on the table."""
    if not rows:
        return Html()
    head = ["n", "D compute-optimal", "D converged", "ratio", "L compute-optimal", "L converged", "gap"]
    body = [
        [
            shown(row["n_latents"]),
            _tokens(row["compute"].get("tokens")),
            _tokens(row["converged"].get("tokens")),
            f"{row['token_ratio']:.1f}" if known(row.get("token_ratio")) else None,
            shown(row["compute"].get("nmse"), "nmse"),
            shown(row["converged"].get("nmse"), "nmse"),
            percent(row["loss_gap"], signed=True) if known(row.get("loss_gap")) else None,
        ]
        for row in rows
    ]
    about = "Each from the best run of its n, without interval: more seeds would tell how far they hold."
    caption = f"Budgets{', ' + name if name else ''}: tokens D and loss L of both"
    return join([table(caption, head, body, ()), tag("p", about, class_="note")])


def _tokens(value: Any) -> str:
    return significant(float(value), 3) if known(value) else MISSING
