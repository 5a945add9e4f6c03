"""Counts every row of a table for the header of a fit: from the table as it was read to the rows of one group."""

from dataclasses import dataclass, replace

from fit.data.groups import Split
from fit.law.result import FitResult
from fit.law.selection import LeftOut


@dataclass(frozen=True)
class Origin:
    """Where the rows of a law come from.

    table: what they are. read, chosen: their number before and after the condition `where`. usable: of these, the rows
    that have a loss, None if all do. split: the columns that split them into groups.
    """

    table: str
    read: int
    chosen: int
    where: str | None
    usable: int | None = None
    split: Split = Split()

    def counted(self, fit: FitResult, rows: int) -> FitResult:
        """The fit of a group of `rows` rows, with the rest of the table counted as left out."""
        if fit.rows_used is None:
            return fit
        usable = self.chosen if self.usable is None else self.usable
        condition = (
            f"not {self.where}" if self.where else "not chosen by the condition, or of runs without a row"
        )
        before = (
            LeftOut(self.read - self.chosen, condition),
            LeftOut(self.chosen - usable, "without a loss, or diverged"),
            LeftOut(usable - rows, f"of another {' or '.join(self.split.by)}"),
        )
        used = fit.rows_used.of_larger(self.table, self.read, before)
        return replace(
            fit, rows_used=replace(used, split_by=self.split.by, not_split_by=self.split.following)
        )
