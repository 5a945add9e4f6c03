"""lr* of each n: the learning rate at which the loss is lowest."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd

from fit.converged.tails import LIMIT, at_limits, loss_column
from fit.data import tables
from fit.data.vertex import LR_REACH, Vertex, lowest, short_number
from fit.law.json_values import integral


class End(StrEnum):
    """An end of the grid of learning rates."""

    SMALLEST = "smallest"
    LARGEST = "largest"


@dataclass(frozen=True)
class AtEnd:
    """The lowest loss is at an end of the lr that were tried: the best lr of all is beyond `bound`.

    lr: the end itself. bound: the lr next to it, below which (at the smallest end) or above which lr* lies, if the loss
    has one minimum over lr. tried: how many lr there are.
    """

    end: End
    lr: float
    bound: float
    tried: int

    @property
    def reason(self) -> str:
        """Why lr* is not known."""
        further = "smaller" if self.end is End.SMALLEST else "larger"
        return (
            f"the {self.end} of {self.tried} lr, {short_number(self.lr)}, is the best, and the best of all may be "
            f"{further}"
        )


@dataclass(frozen=True)
class Comparable:
    """Converged runs to compare the lr of each n by, with L∞ in the column `LIMIT`, or by nmse where they lack it.

    left_out: how many runs are left out, as nothing is known of their tails. by_last_loss: the n whose runs have their
    last loss in that column; empty where no tail at all is known.
    """

    rows: pd.DataFrame
    left_out: int = 0
    by_last_loss: tuple[float, ...] = ()


def comparable(runs: pd.DataFrame, curves: pd.DataFrame | None) -> Comparable:
    """Converged runs by L∞, see `tails.at_limits`; an n with known tails at too few lr, by the last losses of all.

    An n needs three lr for a vertex, and the tails of those beside the best: see `up_to_doubtful`. All runs of one n
    are compared by the same kind of loss.
    """
    known, left_out = at_limits(runs, curves)
    if not left_out or not {"n_latents", "lr", "nmse"} <= set(runs.columns):
        return Comparable(known, left_out)
    every, limited = (tables.numeric(each, "n_latents", "lr", "nmse") for each in (runs, known))
    rates = every[(every["lr"] > 0) & (every["nmse"] > 0)].groupby("n_latents")["lr"].nunique()
    with_limit = limited[limited["lr"] > 0].groupby("n_latents")["lr"].nunique()
    too_few = with_limit.reindex(rates.index, fill_value=0) < 3
    few = rates.index[(rates >= 3) & (too_few | rates.index.isin(_doubtful(every, known)))]
    ends = runs[every["n_latents"].isin(few)]
    others = known[~limited["n_latents"].isin(few)]
    rows = pd.concat([others, ends.assign(**{LIMIT: ends["nmse"]})]).sort_index()
    if others.empty:
        rows = rows.drop(columns=LIMIT)
    return Comparable(rows, len(runs) - len(rows), tuple(float(n) for n in few))


def _doubtful(every: pd.DataFrame, known: pd.DataFrame) -> list[float]:
    """The n whose best lr stands beside one without a known tail. known: those of `every` that have a `LIMIT`."""
    sizes = []
    for n, part in every[(every["lr"] > 0) & (every["nmse"] > 0)].groupby("n_latents"):
        here = known[LIMIT].reindex(part.index)
        means = np.log(here).groupby(part["lr"]).mean()
        losses = {float(lr): float(mean) for lr, mean in means.dropna().items()}
        if losses and up_to_doubtful(losses, map(float, means.index[means.isna()])) != losses:
            sizes.append(float(str(n)))
    return sizes


def up_to_doubtful(losses: Mapping[float, float], doubtful: Iterable[float]) -> dict[float, float]:
    """The losses without those beyond a doubtful lr that stands beside the best one.

    With them a parabola would go from the best past that lr, at which the loss may be lower still. A doubtful lr that
    stands beyond a known one cannot be the best, if the loss has one minimum over lr.

    losses: lr to ln L. doubtful: lr of which nothing says that their loss is above the lowest.
    """
    best, kept = min(losses, key=losses.__getitem__), dict(losses)
    others = list(doubtful)
    for side in (-1, 1):
        at = min((side * lr for lr in others if side * lr > side * best), default=np.inf)
        beyond = [lr for lr in losses if side * lr > side * best]
        if all(side * lr > at for lr in beyond):
            kept = {lr: loss for lr, loss in kept.items() if lr not in beyond}
    return kept


def lr_optima(table: pd.DataFrame, by: Sequence[str] = ("n_latents",)) -> tuple[pd.DataFrame, list[str]]:
    """The vertex of ln L over ln lr for each n: columns `by`, lr, nmse (at the vertex), tried; and why n are missing.

    table: rows with lr, nmse and the columns `by`; where they have L∞, see `tails.at_limits`, that is the loss. Several
    rows at one lr, such as seeds, count as their geometric mean. A grid of lr in factors of 2 gives the optimum within
    a factor of √2, and the parabola gives it within a few percent. If the lowest loss of an n is at an edge of its
    grid, lr* is only bounded, not known, so this n is left out. All n that are left out for the same reason are named
    in one sentence.
    """
    tables.require(table, *by, "lr", "nmse")
    known = tables.numeric(table.assign(nmse=table[loss_column(table)]), *by, "lr", "nmse")
    known = known[(known["lr"] > 0) & (known["nmse"] > 0)]
    rows: list[dict[str, Any]] = []
    without: dict[str, list[tuple[Any, ...]]] = {}
    for key, part in known.groupby(list(by), sort=True):
        losses = {
            float(lr): float(loss) for lr, loss in np.log(part["nmse"]).groupby(part["lr"]).mean().items()
        }
        at = best_lr(losses)
        if not isinstance(at, Vertex):
            without.setdefault(at if isinstance(at, str) else at.reason, []).append(key)
            continue
        rows.append(
            dict(zip(by, key, strict=True)) | {"lr": np.exp(at.x), "nmse": np.exp(at.y), "tried": len(losses)}
        )
    reasons = [f"lr* is unknown at {_cell_names(by, keys)}: {reason}." for reason, keys in without.items()]
    return pd.DataFrame(rows, columns=[*by, "lr", "nmse", "tried"]), reasons


def _cell_names(by: Sequence[str], keys: Sequence[tuple[Any, ...]]) -> str:
    """`n_latents=512, 1,024`, or `n_latents=512 k=32, n_latents=512 k=64`."""
    if len(by) == 1:
        return f"{by[0]}={', '.join(f'{integral(key[0]):,}' for key in keys)}"
    return ", ".join(" ".join(f"{n}={integral(v):,}" for n, v in zip(by, key, strict=True)) for key in keys)


def best_lr(losses: Mapping[float, float]) -> Vertex | AtEnd | str:
    """The vertex of ln L over ln lr; the end at which the lowest of three or more losses lies; or why neither is known.

    losses: lr to ln L.
    """
    if len(losses) >= 3:
        best, rising = min(losses, key=losses.__getitem__), sorted(losses)
        for end, rates in ((End.SMALLEST, rising), (End.LARGEST, rising[::-1])):
            if best == rates[0]:
                return AtEnd(end, best, rates[1], len(losses))
    return lowest(losses, "lr", LR_REACH)
