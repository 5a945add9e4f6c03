"""What counts as the compute C of a row: FLOPs in one of two conventions, the table's own count, or 6·N·D."""

from dataclasses import dataclass

import pandas as pd

from fit.data import tables
from fit.law.options import FLOPS

# Where a table has no column of either convention, C is its column `flops`, and without that one 6·n_latents·tokens.
GIVEN, BY_SIZE = "given", "6ND"
DESCRIBED = {
    "sparse": "sparse convention",
    "dense": "dense convention",
    GIVEN: "column flops of the table",
    BY_SIZE: "6·n_latents·tokens",
}


@dataclass(frozen=True)
class Compute:
    """A table whose column `column` is C. convention: how C was counted. note: what was chosen; empty as asked for."""

    table: pd.DataFrame
    convention: str
    note: str = ""

    @property
    def column(self) -> str:
        return f"flops_{self.convention}"


def described(convention: str | None) -> str:
    """How C was counted, in words: `sparse convention`."""
    return DESCRIBED.get(convention or "", f"{convention} convention")


def with_column(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """The table with a column of C that is made from others, if it can be; as it is otherwise."""
    if column in table.columns:
        return table
    if column == f"flops_{GIVEN}" and "flops" in table.columns:
        return table.assign(**{column: table["flops"]})
    if column == f"flops_{BY_SIZE}" and {"n_latents", "tokens"} <= set(table.columns):
        C = 6 * tables.numbers(table, "n_latents") * tables.numbers(table, "tokens")
        return table.assign(**{column: C})
    return table


def with_compute(table: pd.DataFrame, convention: str) -> Compute:
    """The table with C in this convention, or else as the table has it. FitError if nothing says what C is."""
    wanted = f"flops_{convention}"
    if wanted in table.columns:
        return Compute(table, convention)
    without = f"since the table has no column {wanted}"
    if "flops" in table.columns:
        return Compute(with_column(table, f"flops_{GIVEN}"), GIVEN, f"C is the column flops, {without}.")
    for other in FLOPS:
        if f"flops_{other}" in table.columns:
            return Compute(table, other, f"C is the column flops_{other}, {without}.")
    if not {"n_latents", "tokens"} <= set(table.columns):
        tables.require(table, wanted)
    note = f"C is 6·n_latents·tokens, {without}; for an SAE of width d, map a column of 12·n·d·D instead."
    return Compute(with_column(table, f"flops_{BY_SIZE}"), BY_SIZE, note)
