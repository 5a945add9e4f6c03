"""The top of the page: the name, what was found in one sentence, and the few numbers to know first."""

from collections.abc import Iterator

import pandas as pd

from fit.data.number_format import greek
from fit.views.page import fit_format, states
from fit.views.page.cells_format import counted, known, shown, values
from fit.views.page.cost import hours
from fit.views.page.markup import MISSING, Html, formula, join, tag, text
from fit.views.page.source import Fit, Source

# law: where it holds, its exponent, its variable. The first of each place that was fitted is told.
PLACES = {
    "at convergence": (("L_N", "alpha", "N"), ("L_N_pure", "alpha", "N"), ("L_NK", "alpha", "N")),
    "at the best use of compute": (("L_C", "alpha", "C"), ("L_C_pure", "alpha", "C")),
}
MOST = 3


def answer(source: Source) -> Html:
    """The head of the page."""
    return tag(
        "header",
        tag("p", "Scaling laws of sparse autoencoders", class_="over"),
        tag("h1", source.name),
        tag("p", sentence(source), class_="lead"),
        facts(source),
    )


def sentence(source: Source) -> Html:
    """The exponents of the laws that were found, with their intervals, or what is missing."""
    found = [join([place, " ", said]) for place, laws in PLACES.items() if (said := _exponents(source, laws))]
    others = dict.fromkeys(str(fit["formula"]) for fit in source.laws)
    if found:
        said = join(found, "; ")
        return join([Html(said[0].upper() + said[1:]), "."])
    if others:
        return join(["Fitted: ", join([formula(other) for other in others], "; "), "."])
    count = states.converged(source.runs)
    lacking = f": {counted(count[0], 'run')} of {len(source.runs):,} converged" if count else ""
    return text(f"No law could be fitted to these runs yet{lacking}. The reasons are under “Laws”.")


def _exponents(source: Source, laws: tuple[tuple[str, str, str], ...]) -> Html | None:
    """`L ∝ N^−α with α = 0.357 [0.340, 0.374] at k = 16 and …`."""
    for law, name, variable in laws:
        params = list(_params([fit for fit in source.laws if fit["law"] == law], name))
        if not params:
            continue
        floor = "" if law.endswith("_pure") else "towards a floor "
        lead = join(
            [
                "the loss falls ",
                floor,
                "as ",
                formula(f"{variable}^−{greek(name)}"),
                f" with {greek(name)} = ",
            ]
        )
        if len(params) > MOST:
            ordered = sorted(params, key=lambda item: item[1]["value"])
            (least, a), (most, b) = ordered[0], ordered[-1]
            ends = f"{fit_format.interval(a)} ({least}) to {fit_format.interval(b)} ({most})"
            return join([lead, ends, f" in {len(params)} fits"])
        said = [f"{fit_format.interval(param)}" + (f" ({of})" if of else "") for of, param in params]
        return join([lead, text(" and ").join(said)])
    return None


def _params(fits: list[Fit], name: str) -> Iterator[tuple[str, dict[str, float]]]:
    """The exponent of each fit, or of each k of a joint law, with whose it is."""
    for fit in fits:
        if fit["law"] == "L_NK":
            each = [
                (key[len(name) + 1 : -1].replace("=", " = "), p)
                for key, p in (fit.get("derived") or {}).items()
                if key.startswith(f"{name}(")
            ]
        else:
            each = [(fit_format.of(fit).replace("all rows", ""), (fit.get("params") or {}).get(name))]
        yield from ((of, p) for of, p in each if p and known(p.get("value")))


def facts(source: Source) -> Html:
    """Ended and converged runs, the lowest loss and whose it is, compute and time."""
    runs, every = source.runs, len(source.runs)
    converged = states.converged(runs)
    flops = values(runs, "flops_sparse").sum(min_count=1)
    rows = [("runs ended", f"{states.ended(runs):,} of {every:,}", "")]
    if "state" not in runs.columns:
        rows = [("rows", f"{every:,}", "")]
    if converged is not None:
        rows.append(("converged", f"{converged[0]:,}", f"of {counted(sum(converged), 'run')} done"))
    rows.append(("lowest NMSE", *_lowest(runs)))
    rows += _judged(source)
    if known(flops):
        rows.append(("training compute", f"{shown(flops, 'flops')}", "FLOPs, sparse convention"))
    spent = hours(runs)
    if spent is not None:
        rows.append(("time", shown(spent[0]), spent[1]))
    return tag(
        "dl",
        *(tag("div", tag("dt", n), tag("dd", tag("b", v), " ", tag("small", s))) for n, v, s in rows),
        class_="facts",
    )


def _judged(source: Source) -> list[tuple[str, str, str]]:
    """How well the first law of a few predicts the largest scale, which it was not shown."""
    for law, name in (("L_NK", "L(N, K)"), ("L_N", "L(N)"), ("L_C", "L(C)")):
        for fit in source.laws:
            if fit["law"] == law and fit_format.error(fit) != MISSING:
                of = fit_format.of(fit).replace("all rows", "")
                inside = fit_format.inside(fit).replace(MISSING, "")
                return [
                    ("held-out error", fit_format.error(fit), ", ".join(filter(None, [name, of, inside])))
                ]
    return []


def _lowest(runs: pd.DataFrame) -> tuple[str, str]:
    """The lowest loss of a run that is done, and where it is."""
    runs = runs[(states.states(runs) == "done") & values(runs, "nmse").notna()]
    loss = values(runs, "nmse")
    if loss.empty:
        return MISSING, "no run is done"
    at = runs.iloc[int(loss.to_numpy().argmin())]
    where = [
        f"{letter} = {shown(at[c])}" for letter, c in (("n", "n_latents"), ("k", "k")) if c in runs.columns
    ]
    return shown(loss.min(), "nmse"), ", ".join(where)
