"""The run that stands for each cell (n_latents, k): the best learning rate, and what is said of that choice."""

from dataclasses import replace

import numpy as np
import pandas as pd

from fit.data import tables
from fit.data.vertex import shown
from fit.law.caution import Caution, Kind
from fit.law.json_values import integral
from fit.law.selection import ConvergedSelection


def best_of_cells(
    rows: pd.DataFrame, tried: pd.DataFrame, selection: ConvergedSelection, cell: list[str]
) -> tuple[pd.DataFrame, ConvergedSelection, list[Caution]]:
    """One row for each cell: the run of its best lr, nmse the geometric mean over that lr's seeds; how; and cautions.

    cell: the columns that make one, (n_latents, k) and further inputs of a law.

    The lowest of three seeds is biased by −0.85 standard deviations of a seed, 0.4 % for 0.5 %; their mean is not.
    Of several runs of one lr and seed, which differ in another option, the lowest counts. The run nearest to the mean
    stands for the others in all columns but nmse. tried: also the runs that did not converge: they tell which lr were
    tried. A table that tells neither state, lr nor seed is used row by row.
    """
    if not {"state", "converged", "lr", "seed"} & set(rows.columns) or rows.empty:
        return rows, selection, []
    by = cell + [name for name in ("lr",) if name in rows.columns]
    seed = [name for name in ("seed",) if name in rows.columns]
    runs = rows.assign(ln=np.log(tables.numbers(rows, "nmse"))).sort_values([*by, "ln"], kind="stable")
    runs = runs.drop_duplicates([*by, *seed])
    groups = runs.groupby(by, dropna=False, sort=False)["ln"]
    runs = runs.assign(mean=groups.transform("mean"), seeds=groups.transform("size"))
    runs = runs.assign(off=(runs["ln"] - runs["mean"]).abs())
    best = runs.sort_values([*cell, "mean", "off"], kind="stable").drop_duplicates(cell)
    most = int(best["seeds"].max())
    average = f", averaged over up to {most} seeds" if most > 1 else ""
    rule = f"best lr of each ({', '.join(cell)}) by its nmse{average}"
    passed = len(rows) - int(best["seeds"].sum())
    selection = replace(selection, rule=rule, chosen_from=len(rows), passed_over=passed, seeds=most)
    # A single run keeps its loss to the last bit.
    nmse = np.where(best["seeds"] == 1, best["nmse"], np.exp(best["mean"]))
    best = best.assign(nmse=nmse).drop(columns=["ln", "mean", "off"])
    return best, selection, _about_lr(best, tried, cell)


def _about_lr(best: pd.DataFrame, tried: pd.DataFrame, cell: list[str]) -> list[Caution]:
    """Cautions where the best lr is at an edge of those tried, and where there was no choice."""
    if "lr" not in best.columns or best["lr"].isna().any():
        return []
    lrs = tried.assign(lr=tables.numbers(tried, "lr")).groupby(cell, dropna=False)["lr"]
    ends = best[[*cell, "lr"]].assign(lr=tables.numbers(best, "lr"))
    ends = ends.merge(lrs.agg(["min", "max", "nunique"]).reset_index(), on=cell, how="left")
    swept = ends[ends["nunique"] > 1]
    if swept.empty:
        text = "Every cell was trained at one lr: L may be lower at another, and the exponent another too."
        return [Caution(Kind.EDGE, text, ("lr",))]
    cautions = []
    for end, word, further in (("min", "smallest", "smaller"), ("max", "largest", "larger")):
        edge = swept[swept["lr"] == swept[end]]
        if len(edge):
            first = edge.iloc[0]
            where = ", ".join(f"{name}={integral(first[name]):,}" for name in cell)
            text = (
                f"In {len(edge)} of {len(best)} cells the best lr is the {word} that was tried ({where}: "
                f"{shown(first['lr'])} first): try {further} ones."
            )
            cautions.append(Caution(Kind.EDGE, text, ("lr",)))
    return cautions
