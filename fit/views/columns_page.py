"""Bring the tables of columns up to date. `python -m fit.views.columns_page docs/reference/tables.md`

The prose around them is written by hand; everything between the two comments of a table is replaced.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from fit.data.columns import CURVES, LATENTS, NUMBER, RUNS, TEXT, TRUTH, WHOLE, Column
from fit.law.errors import FitError

TABLES = {"runs": RUNS, "curves": CURVES, "latents": LATENTS}
TYPES = {TEXT: "text", WHOLE: "whole number", NUMBER: "number", TRUTH: "true or false"}


def with_tables(page: str) -> str:
    """The page with every table of columns rewritten from `fit.data.columns`. FitError if a table has no place."""
    for name, columns in TABLES.items():
        begin, end = f"<!-- columns of {name} -->\n", f"<!-- end of columns of {name} -->\n"
        if (page.count(begin), page.count(end)) != (1, 1):
            raise FitError(
                f"The page has no single place for the columns of {name}: write {begin + end!r} once."
            )
        before, rest = page.split(begin)
        page = before + begin + markdown(columns) + end + rest.split(end)[1]
    return page


def markdown(columns: Sequence[Column]) -> str:
    """A table with one row per column; only columns that hold a setting have a config key."""
    keys = any(column.key for column in columns)
    head = ["column", "type", "unit", *(["config key"] if keys else []), "meaning"]
    rows = [head, ["---"] * len(head)]
    for column in columns:
        key = f"`{column.key}`" if column.key else ""
        rows.append(
            [f"`{column.name}`", TYPES[column.dtype], column.unit, *([key] if keys else []), column.meaning]
        )
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main(arguments: Sequence[str]) -> int:
    """Rewrite the tables of the page named on the command line."""
    if len(arguments) != 1 or not Path(arguments[0]).is_file():
        print(
            "Give the page to rewrite: python -m fit.views.columns_page docs/reference/tables.md",
            file=sys.stderr,
        )
        return 2
    page = Path(arguments[0])
    page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
