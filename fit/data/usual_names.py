"""Columns of tables from elsewhere that are ours under a usual name of the field: d_sae, learning_rate, fvu.

A column is taken by its name only where nothing else could be meant. If two columns could be it, and hold different
values, none is taken: for k and lr, whose rows would be pooled without them, the table is refused, and for the others
the fit that needs them says which `--map` decides.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from fit.law.errors import FitError

# Usual names, without capitals and signs, of our columns; a dotted or slashed prefix, as config.lr has, is left out.
NAMES: Mapping[str, frozenset[str]] = {
    ours: frozenset(names.split())
    for ours, names in {
        "n_latents": "nlatents numlatents latents dsae dictsize dictionarysize nfeatures numfeatures saewidth "
        "numberoflatents nsaefeatures",
        "k": "k topk ksparse numactivelatents",
        "tokens": "tokens ntokens numtokens trainingtokens traintokens tokensseen tokenstrained totaltokens "
        "ntrainingtokens numtrainingtokens totaltrainingtokens ntrainingsamples ntokensseen",
        "lr": "lr learningrate lrate maxlr peaklr baselr lrmax lrpeak initlr initiallr",
        "batch_tokens": "batchtokens trainbatchsizetokens batchsizetokens tokensperbatch tokensperstep",
        "d_model": "dmodel din activationdim dinput actdim actsize activationsize",
        "seed": "seed randomseed rngseed",
        "flops": "flops totalflops trainflops trainingflops numflops",
    }.items()
}
# The loss, best known first: normalized MSE, its complement, and any loss if it is the only one.
NORMALIZED = frozenset(
    "nmse normalizedmse normalisedmse fvu fractionvarianceunexplained fractionofvarianceunexplained "
    "fracvarianceunexplained varianceunexplained".split()
)
EXPLAINED = frozenset(
    "explainedvariance varianceexplained fracvarianceexplained fractionvarianceexplained "
    "fractionofvarianceexplained".split()
)
LOSSES = frozenset(
    "loss evalloss valloss validationloss testloss finalloss mse mseloss l2loss reconstructionloss".split()
)
# Without these, rows that differ in them are pooled, whatever the law.
POOLED = ("k", "lr")
# Other columns that hold the same as one of ours, under which a table counts as having it.
_SAME_AS = {"flops": ("flops_sparse", "flops_dense")}


@dataclass(frozen=True)
class Usual:
    """What was taken by its name: ours to theirs. unsure: the columns that one of ours could be."""

    mapping: Mapping[str, str] = field(default_factory=dict)
    unsure: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """A line for a reader; none where nothing was taken or left open."""
        notes = []
        if self.mapping:
            pairs = ", ".join(f"{ours} from {theirs}" for ours, theirs in self.mapping.items())
            notes.append(f"Taken by their names: {pairs} (--map chooses other columns).")
        for ours, names in self.unsure.items():
            notes.append(f"{_listed(names)} could be {ours}, and none was taken: {decides(ours, names)}.")
        return tuple(notes)


def usual_names(table: pd.DataFrame, given: Mapping[str, str]) -> Usual:
    """What a table has under usual names, beside the columns that the user named.

    Parameters
    ----------
    table : under its own column names.
    given : our names to the table's, from the user.

    Raises
    ------
    FitError
        If several columns could be k or lr.
    """
    columns = [str(name) for name in table.columns if str(name) not in given.values()]
    mapping: dict[str, str] = {}
    unsure: dict[str, tuple[str, ...]] = {}
    for ours in (*NAMES, "nmse"):
        if {ours, *_SAME_AS.get(ours, ())} & {*table.columns, *given}:
            continue
        names = _losses(table, columns) if ours == "nmse" else _called(table, columns, NAMES[ours])
        if ours == "k":
            names = [name for name in names if _whole(table[name])]
        if len(names) == 1:
            mapping[ours] = names[0]
        elif names:
            unsure[ours] = tuple(names)
    for ours in POOLED:
        if ours in unsure:
            raise FitError(f"{_listed(unsure[ours])} could be {ours}: {decides(ours, unsure[ours])}.")
    return Usual(mapping, unsure)


def decides(ours: str, names: Iterable[str]) -> str:
    """`--map lr=peak_lr or --map lr=base_lr decides`."""
    return f"{' or '.join(f'--map {ours}={name}' for name in names)} decides"


def is_explained_variance(name: str) -> bool:
    """Whether a column is called explained variance, which is 1 − NMSE."""
    return bool(_plain(name) & EXPLAINED)


def _listed(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _plain(name: str) -> frozenset[str]:
    """A name without capitals, signs and a unit in brackets: as a whole, and without what stands before a dot or /."""
    bare = re.sub(r"\s*[(\[][^)\]]*[)\]]\s*$", "", name)
    return frozenset(
        re.sub(r"[^a-z0-9]", "", part.lower()) for part in (bare, re.split(r"[./]", bare.rstrip("./"))[-1])
    )


def _called(table: pd.DataFrame, columns: Iterable[str], names: frozenset[str]) -> list[str]:
    """The columns with one of these names that differ in their values, without columns that are empty."""
    called: list[str] = []
    for name in columns:
        if not _plain(name) & names or name not in table.columns or table[name].isna().all():
            continue
        if not any(_same(table[name], table[other]) for other in called):
            called.append(name)
    return called


def _losses(table: pd.DataFrame, columns: list[str]) -> list[str]:
    for names in (NORMALIZED, EXPLAINED, LOSSES):
        if called := _called(table, columns, names):
            return called
    return []


def _same(one: pd.Series, other: pd.Series) -> bool:
    return bool((one.astype("string").fillna("") == other.astype("string").fillna("")).all())


def _whole(values: pd.Series) -> bool:
    numbers = pd.to_numeric(values, errors="coerce").dropna()
    return len(numbers) > 0 and bool(np.all((numbers >= 1) & (numbers == numbers.round())))
