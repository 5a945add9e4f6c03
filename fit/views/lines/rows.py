"""What became of the rows of a table, as sentences for the terminal and the page."""

from collections.abc import Iterator

from fit.law.selection import RowsUsed, RunsBy


def row_lines(used: RowsUsed | None) -> Iterator[str]:
    """Rows used and left out, what was taken as a run, and what split the rows; nothing for a fit of arrays."""
    if used is None:
        return
    yield f"rows: {_counts(used)}"
    yield f"runs: {_runs(used)}{_split(used)}"


def _counts(used: RowsUsed) -> str:
    """`16 of 80 rows of the table used; left out: 64 not at the lr with the lowest loss …`."""
    text = f"{used.used:,} of {used.rows:,} {used.table} used"
    rules = [f"{left.rows:,} {left.rule}" for left in used.left_out]
    return f"{text}; left out: {', '.join(rules)}" if rules else text


def _runs(used: RowsUsed) -> str:
    count = "" if used.runs is None else f"{used.runs:,}, "
    if used.runs_by is RunsBy.ROWS:
        return f"{count}each row by itself: {used.why}"
    ends = "" if used.runs_by is RunsBy.ASKED else "; --cluster none counts each row"
    by = f"by {', '.join(used.run_columns)}, " if used.runs_by is RunsBy.ASKED else ""
    return f"{count}{by}{used.why}{ends}"


def _split(used: RowsUsed) -> str:
    """`; split by k (--group none ends it)`, and the columns that could split the rows and follow the size."""
    parts = []
    if used.split_by:
        parts.append(f"split by {', '.join(used.split_by)} (--group none ends it)")
    if used.not_split_by:
        names = ", ".join(used.not_split_by)
        parts.append(f"not split by {names}, which follows n (--group {names} splits)")
    return "".join(f"; {part}" for part in parts)
