"""What was swept: the axes and their values, the data, what was the same in every run, and how the runs stand."""

import pandas as pd

from fit.views.page import states
from fit.views.page.cells_format import counted, names, shown, spread, values
from fit.views.page.markup import Html, folded, join, table, tag, text
from fit.views.page.source import Source

# Columns of docs/tables.md that say what a run was to be, in the order in which a reader asks for them.
CONFIG = {
    "n_latents": "latents n",
    "k": "active latents k",
    "lr": "learning rate",
    "batch_tokens": "tokens a step B",
    "max_tokens": "budget, tokens",
    "seed": "seed",
    "data": "data",
    "model": "model",
    "layer": "layer",
    "text": "text",
    "store": "store",
    "context": "context, tokens",
    "prepare": "inputs prepared",
    "d_model": "width d",
    "n_features": "features of the synthetic data",
    "zipf": "Zipf exponent",
    "features_per_token": "features a token",
    "dictionary_seed": "seed of the dictionary",
    "data_fingerprint": "fingerprint of the data",
    "shuffle_seed": "seed of the order of tokens",
    "activation": "activation",
    "auxk_coef": "AuxK α",
    "k_aux": "AuxK k",
    "dead_tokens": "tokens to dead",
    "encoder_bias": "encoder bias",
    "init_scale": "initial scale",
    "lr_schedule": "schedule of lr",
    "stop": "stops at",
    "epsilon": "ε of convergence",
    "adam_beta1": "Adam β₁",
    "adam_beta2": "Adam β₂",
    "adam_eps": "Adam ε",
    "ema": "EMA",
    "clip_grad": "gradient clipped at",
    "evals_per_doubling": "evaluations a doubling",
    "first_eval_tokens": "first evaluation, tokens",
}
MOST_CELLS = 16


def axes(runs: pd.DataFrame) -> list[str]:
    """The configuration columns that differ between runs."""
    return [c for c in CONFIG if c in runs.columns and names(runs, c).nunique() > 1]


def swept(source: Source) -> Html:
    """The section."""
    runs = source.runs
    varied = axes(runs)
    same = [c for c in CONFIG if c in runs.columns and c not in varied and runs[c].notna().any()]
    parts = [_standing(runs)]
    if varied:
        rows = [
            [CONFIG[c], tag("code", c), f"{names(runs, c).nunique():,}", spread(c, runs[c])] for c in varied
        ]
        parts.append(
            table("Axes: what differs between runs", ["axis", "column", "values", ""], rows, (0, 1, 3))
        )
    parts = [parts[0], tag("div", *parts[1:], _cells(runs), class_="abreast")]
    if same:
        pairs = [tag("div", tag("dt", CONFIG[c]), tag("dd", spread(c, runs[c]))) for c in same]
        parts.append(folded(f"The same in every run ({len(same)})", tag("dl", *pairs, class_="pairs")))
    return join(parts)


def _standing(runs: pd.DataFrame) -> Html:
    """`14 runs: 13 done, 1 failed. 12 of 14 runs have ended.`"""
    counts = states.counts(runs)
    if "state" not in runs.columns:
        return tag("p", f"{counted(len(runs), 'row')}; the table does not say how its runs ended.")
    each = [tag("span", f"{count:,} {state}", class_=f"state {state}") for state, count in counts.items()]
    ended = f"{states.ended(runs):,} of {counted(len(runs), 'run')} have ended"
    return tag("p", f"{ended}: ", join(each, " "))


def _cells(runs: pd.DataFrame) -> Html:
    """The lowest loss of each n and k among the runs that are done, and how many they are."""
    n, k = values(runs, "n_latents"), values(runs, "k")
    if not (1 < n.nunique() <= MOST_CELLS and 0 < k.nunique() <= MOST_CELLS):
        return Html()
    frame = pd.DataFrame(
        {"n": n, "k": k, "nmse": values(runs, "nmse"), "done": states.states(runs) == "done"}
    )
    ks, rows = sorted(k.dropna().unique()), []
    for latents in sorted(n.dropna().unique()):
        row = [shown(latents)]
        for active in ks:
            row.append(_cell(frame[(frame["n"] == latents) & (frame["k"] == active)]))
        rows.append(row)
    head = ["n", *(f"k = {shown(active)}" for active in ks)]
    return table("Lowest NMSE of each n and k", head, rows, ())


def _cell(cell: pd.DataFrame) -> Html:
    """The lowest loss of the runs that are done, and how many they are where they are not all."""
    done = cell[cell["done"]]
    lowest = shown(done["nmse"].min(), "nmse") if len(done) else None
    if len(done) == len(cell):
        return text(lowest)
    return join([lowest, tag("span", f"{len(done)} of {len(cell)} done", class_="ends")])
