"""The table of laws: for each formula its fits side by side, parameters with intervals, held-out error and rivals."""

from collections.abc import Mapping, Sequence
from typing import Any

from fit.data.number_format import percent, scale, significant
from fit.views.page import fit_format
from fit.views.page.cells_format import known, shown
from fit.views.page.markup import MISSING, Html, folded, formula, join, listed, table, tag
from fit.views.page.source import Fit, Source

# Starts of the laws' names in the order in which they are shown; a longer one before what it starts with.
ORDER = ("L_NK", "L_ND", "L_N", "L_C", "N_C", "D_C", "LR_C", "T_N", "LR_N")


def laws(source: Source) -> Html:
    """The section: a table a law, and what could not be fitted."""
    families: dict[tuple[str, str], list[Fit]] = {}
    for fit in source.laws:
        families.setdefault((fit["law"], str(fit.get("formula") or fit["law"])), []).append(fit)
    families = dict(sorted(families.items(), key=lambda item: _rank(item[0][0])))
    parts = [_family(law, written, fits) for (law, written), fits in families.items()]
    if not parts:
        parts = [tag("p", "No law is fitted.")]
    else:
        about = "Values with 95 % intervals. Errors are those of predictions at the largest scale, which was held out."
        parts.insert(0, tag("p", about, class_="note"))
    if source.skipped:
        parts.append(folded(f"Not fitted, and why ({len(source.skipped)})", listed(source.skipped)))
    return join(parts)


def _rank(law: str) -> int:
    """Where a law stands: what was asked of the study first, what goes with it after."""
    return next((i for i, start in enumerate(ORDER) if law.startswith(start)), len(ORDER))


def _family(law: str, written: str, fits: Sequence[Fit]) -> Html:
    names = list(dict.fromkeys(name for fit in fits for name in fit.get("params") or {}))
    head = [
        "of",
        *(fit_format.symbol(name) for name in names),
        "held-out error",
        "residual",
        "rows",
        "starts",
    ]
    rows = [
        [
            fit_format.of(fit),
            *(fit_format.stacked((fit.get("params") or {}).get(name)) for name in names),
            join([fit_format.error(fit), tag("span", fit_format.inside(fit), class_="ends")]),
            _share(fit.get("rms_log")),
            shown(fit.get("rows")),
            _starts(fit),
        ]
        for fit in fits
    ]
    place = fit_format.REGIMES.get(fits[0].get("regime") or "", "")
    response = str(fits[0].get("response") or "nmse")
    flops = fits[0].get("flops")
    about = [place, *([f"C in FLOPs, {flops} convention"] if flops else []), *_methods(fits)]
    title = tag("h3", formula(written), " ", tag("code", law))
    parts = [title, tag("p", ", ".join(filter(None, about)), class_="note")]
    parts.append(table(f"{law}: {response.replace('nmse', 'NMSE')}", head, rows))
    parts += [
        _derived(fits),
        _rivals(fits),
        folded("How the rows were chosen, and what was held out", *map(_more, fits)),
    ]
    return tag("section", *parts, class_="law")


def _methods(fits: Sequence[Fit]) -> list[str]:
    """How the intervals were made."""
    found = {p.get("method") for fit in fits for p in (fit.get("params") or {}).values()}
    return (
        [f"intervals by {', '.join(sorted(m))}"]
        if (m := {str(x) for x in found if x and x != "none"})
        else []
    )


def _starts(fit: Fit) -> str:
    starts = fit.get("starts") or {}
    return f"{starts['agree']}/{starts['tried']}" if {"agree", "tried"} <= starts.keys() else MISSING


def _derived(fits: Sequence[Fit]) -> Html:
    """What follows from the parameters, as α(k=32) and E(k=32): a row a condition, a column a number."""
    rows: dict[str, dict[str, str]] = {}
    for fit in fits:
        for name, param in (fit.get("derived") or {}).items():
            number, _, at = name.partition("(")
            of = [fit_format.of(fit)] if len(fits) > 1 else []
            where = ", ".join([*of, at.rstrip(")").replace("=", " = ")])
            rows.setdefault(where, {})[number] = fit_format.interval(param)
    numbers = list(dict.fromkeys(number for row in rows.values() for number in row))
    body = [[where, *(row.get(number) for number in numbers)] for where, row in rows.items()]
    return table("What follows from it", ["at", *map(fit_format.symbol, numbers)], body) if body else Html()


def _rivals(fits: Sequence[Fit]) -> Html:
    """The laws that each was judged against, by held-out error; the first is the best."""
    items = []
    for fit in fits:
        rivals = [_rival(rival, fit) for rival in fit.get("comparison") or []]
        if rivals:
            items.append(join([f"{fit_format.of(fit)}: ", join(rivals, ", ")]))
    if not items:
        return Html()
    return join(
        [tag("p", "Against other laws, the best first, by held-out error:", class_="note"), listed(items)]
    )


def _rival(rival: Mapping[str, Any], fit: Fit) -> Html:
    """A law and its error, the fitted one in bold."""
    kind = "b" if rival.get("law") == fit["law"] else "span"
    return tag(kind, f"{rival.get('law')} {_share(rival.get('held_out_rms'))}")


def _share(value: Any) -> str:
    return percent(value) if known(value) else MISSING


def _more(fit: Fit) -> Html:
    """The rule of the rows, the held-out points, and how an L(C) moves with the choices made."""
    chosen: Mapping[str, Any] = fit.get("selection") or {}
    parts = [tag("h4", fit_format.of(fit))]
    if chosen.get("rule"):
        parts.append(tag("p", chosen["rule"]))
    held = fit.get("held_out") or {}
    rows = [_held(point) for point in held.get("points") or []]
    if rows:
        head = ["held out", "predicted [95 %]", "measured", "error", ""]
        parts.append(table(f"Held out, fitted to {_up_to(held)}", head, rows, (0, 4)))
    sensitivity = (fit.get("extra") or {}).get("sensitivity") or []
    if sensitivity:
        head = ["choice", "FLOPs", "from C", "points", "α", "E"]
        body = [
            [
                r.get("choice"),
                r.get("flops"),
                _number(r.get("min_flops"), 3),
                shown(r.get("points")),
                _number(r.get("alpha"), 3),
                _number(r.get("E"), 3),
            ]
            for r in sensitivity
        ]
        parts.append(table("How it moves with what was chosen", head, body, (0, 1)))
    note = (fit.get("extra") or {}).get("note")
    return join([*parts, tag("p", note)] if note else parts)


def _up_to(held: Mapping[str, Any]) -> str:
    return scale(held["input"], held["up_to"]).replace("=", " ≤ ") if known(held.get("up_to")) else "the rest"


def _held(point: Mapping[str, Any]) -> list[Any]:
    inputs = list(point)[: list(point).index("predicted")]
    verdict = None if point.get("inside") is None else "inside" if point["inside"] else "outside"
    error: Any = point.get("relative_error")
    return [
        ", ".join(scale(name, point[name]) for name in inputs),
        fit_format.interval({**point, "value": point.get("predicted")}, 4),
        _number(point.get("measured"), 4),
        percent(float(error), signed=True) if known(error) else None,
        verdict,
    ]


def _number(value: Any, digits: int) -> str:
    return significant(value, digits) if known(value) else MISSING
