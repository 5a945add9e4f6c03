"""Tables of separated text: which separator, which decimal mark, comments, and rows of another length.

The separator is the one with which most lines have as many values as the header. Python's csv.Sniffer goes by the
frequencies of letters, and takes the `e` of `1e-4` for a separator.
"""

import csv
import io
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fit.law.errors import FitError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
_SAMPLE = 300  # lines from which the separator is chosen
# A comma with three digits behind it may stand between thousands, so it is no sure decimal comma.
_DECIMAL_COMMA = re.compile(r"[+-]?(?:\d*,(?:\d{1,2}|\d{4,})|0,\d+|\d{4,},\d+|\d+,\d+[eE][+-]?\d+)")
_POINTS_BETWEEN_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+(?:,\d+)?")
_DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d+(?:[eE][+-]?\d+)?")
_RULE = re.compile(r"\s*\|?[\s:|-]*-{3,}[\s:|-]*")  # the line below the header of a Markdown table


@dataclass(frozen=True)
class Separated:
    """A table; how its text was written, if not as plain CSV; what was left out or renamed, a sentence each."""

    table: pd.DataFrame
    dialect: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Text:
    """Lines that keep their numbers, their separator, whether spaces follow it, and how many held separators only."""

    lines: list[str]
    separator: str = ","
    spaced: bool = False
    blank: int = 0

    def rows(self, most: int | None = None) -> Iterator[tuple[list[str], int]]:
        """The values of each row that is not blank, and the number of its last line, from 1."""
        lines = self.lines[:most]
        if self.separator == " ":
            yield from ((line.split(), at) for at, line in enumerate(lines, 1) if line.strip())
            return
        csv.field_size_limit(2**31 - 1)
        ended = (f"{line}\n" for line in lines)
        reader = csv.reader(ended, delimiter=self.separator, skipinitialspace=self.spaced)
        yield from ((row, reader.line_num) for row in reader if row and (len(row) > 1 or row[0].strip()))

    def header(self) -> list[str]:
        return next((row for row, _ in self.rows()), [])


def read_separated(text: str, name: str) -> Separated:
    """Read a table of separated text.

    Raises
    ------
    FitError
        The text has no header, or a row of another length; the sentence names the line.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    lines, dialect, comments = _without_comments(lines)
    content = _separate(lines)
    if content.separator != ",":
        dialect = [f"{SEPARATORS[content.separator]} between columns", *dialect]
    longer = _longer(content, name)
    table, marks = _parsed(content, longer)
    notes = []
    for count, what in ((comments, "of comments (#)"), (content.blank, "without a value")):
        if count:
            notes.append(f"{name}: {_count(count, 'line')} {what} left out.")
    names, more = _names(content.header(), name)
    if longer == "start":
        notes.append(
            f"{name}: its rows have one value more than its header, so the first was taken for their name."
        )
        table = table.reset_index()
        names = ["row", *names]
    if table.shape[1] == 1 and not pd.api.types.is_numeric_dtype(table.iloc[:, 0]):
        raise FitError(
            f"{name} holds lines of text ({names[0][:40]!r}, …) and no commas, semicolons, tabs, bars or spaces by "
            "which they would have equally many values: it is no table."
        )
    table, numbering = _without_numbering(table.set_axis(names, axis=1), name)
    return Separated(table, (*dialect, *marks), (*notes, *more, *numbering))


def _without_comments(lines: list[str]) -> tuple[list[str], list[str], int]:
    """The lines, those that are comments emptied; whether the header was behind a #; and the number of comments."""
    quoted, comments = False, []
    for index, line in enumerate(lines):
        if not quoted and line.lstrip().startswith("#"):
            comments.append(index)
        else:
            quoted ^= line.count('"') % 2 == 1
    if not comments:
        return lines, [], 0
    kept, dialect = list(lines), []
    for index in comments:
        kept[index] = ""
    first = next((index for index, line in enumerate(kept) if line.strip()), len(kept))
    above = [index for index in comments if index < first]
    # numpy.savetxt and gnuplot write the names of the columns behind a #, above numbers.
    if above and first < len(kept):
        names, values = (
            re.split(r"[,;|\s]+", line.strip()) for line in (lines[above[-1]].lstrip("#"), kept[first])
        )
        if len(names) == len(values) and any(map(_is_number, values)) and not any(map(_is_number, names)):
            kept[above[-1]] = lines[above[-1]].lstrip("# \t")
            comments.remove(above[-1])
            dialect.append("the header behind a #")
    return kept, dialect, len(comments)


def _separate(lines: list[str]) -> _Text:
    """The lines with the separator by which most of them have as many values as the header, and at least two."""
    declared = re.fullmatch(r"sep=(.)", lines[0])  # as Excel writes it
    if declared is not None:
        lines = ["", *lines[1:]]
    sample = [line for line in lines[: 3 * _SAMPLE] if line.strip() and not _RULE.fullmatch(line)][:_SAMPLE]
    best, score = ",", (0.0, 0)
    for separator in SEPARATORS:
        widths = [len(row) for row, _ in _Text(sample, separator, spaced=True).rows()]
        if not widths or widths[0] < 2:
            continue
        below = widths[1:] or widths
        share = max(sum(width == widths[0] + more for width in below) / len(below) for more in (0, 1))
        if separator == " " and share < 1:
            continue
        rank = (share, 0 if separator == " " else widths[0])
        if rank > score:
            best, score = separator, rank
    if best == "|":
        lines = [_without_frame(line) for line in lines]
    header = next((line for line in lines if line.strip()), "")
    kept = [line if line.strip(f"{best} \t") else "" for line in lines]
    blank = sum(bool(line.strip()) and not left for line, left in zip(lines, kept, strict=True))
    return _Text(kept, best, f"{best} " in header, blank)


def _without_frame(line: str) -> str:
    """A line of a Markdown table without its outer bars; the rule below the header becomes empty."""
    if _RULE.fullmatch(line):
        return ""
    inner = line.strip()
    return inner[1:-1] if len(inner) > 1 and inner[0] == inner[-1] == "|" else line


def _longer(text: _Text, name: str) -> str:
    """In what way every row has one value more than the header: `end` (a trailing separator), `start` or not (empty).

    FitError if rows have other lengths than the header, or if the first row holds numbers.
    """
    header = text.header()
    if not header:
        raise FitError(f"{name} holds no table: all its lines are empty or comments.")
    if all(_is_number(cell) for cell in header if cell.strip()):
        raise FitError(
            f"The first line of {name} holds numbers ({', '.join(header[:3])}) and not the names of columns: add a "
            "line of names above it, as n_latents,nmse."
        )
    rows = text.rows()
    next(rows)
    odd, longer, ends_empty, number, before = None, 0, True, 0, 1
    for row, line in rows:
        number += 1
        if len(row) != len(header):
            if any("\n" in cell for cell in row) and line == len(text.lines):
                raise FitError(
                    f"A double quote below line {before} of {name} is never closed: close or remove it."
                )
            odd = odd or (len(row), line)
            longer += len(row) == len(header) + 1
            ends_empty &= not row[-1].strip()
        before = line
    if odd is None:
        return ""
    if longer == number and len(header) > 1:
        return "end" if ends_empty else "start"
    width, line = odd
    raise FitError(
        f"Line {line} of {name} has {_count(width, 'value')} where the header has {len(header)} "
        f"({text.lines[line - 1].strip()[:60]!r}). A value with {SEPARATORS[text.separator]} needs double quotes, a "
        "line above the header needs a # before it, and a line with too few values may be cut off."
    )


def _parsed(text: _Text, longer: str) -> tuple[pd.DataFrame, list[str]]:
    """The table, and what a reader should know about its decimal marks."""
    content = "\n".join(text.lines)
    options: dict[str, Any] = {
        "sep": r"\s+" if text.separator == " " else text.separator,
        "skipinitialspace": text.spaced,
        "index_col": None if longer == "start" else False,
        "low_memory": False,
    }
    marks = []
    if re.search(r"\d,\d" if text.separator != "," else r'"\s*[+-]?\d+,\d', content):
        decimal, thousands = _decimal_marks(text)
        if decimal == ",":
            options |= {"decimal": ",", "thousands": "." if thousands else None}
            marks = ["decimal commas" + " and points between thousands" * thousands]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pd.errors.ParserWarning)  # of the values behind a trailing separator
        return pd.read_csv(io.StringIO(content), **options), marks


def _decimal_marks(text: _Text) -> tuple[str, bool]:
    """The decimal mark of the file, and whether points stand between its thousands.

    A file with a sure decimal comma and no sure decimal point has decimal commas throughout; in any other, each column
    is left to `fit.data.conversion`.
    """
    cells = {cell.strip() for row, _ in text.rows() for cell in row}
    if not any(map(_DECIMAL_COMMA.fullmatch, cells)):
        return ".", False
    thousands = {cell for cell in cells if _POINTS_BETWEEN_THOUSANDS.fullmatch(cell)}
    if {cell for cell in cells if _DECIMAL_POINT.fullmatch(cell)} - thousands:
        return ".", False
    return ",", bool(thousands)


def _names(header: list[str], name: str) -> tuple[list[str], list[str]]:
    """The names of the columns without spaces around them and none twice, and notes on what was changed."""
    names: list[str] = []
    twice: list[str] = []
    for at, cell in enumerate(header):
        column = wanted = cell.strip() or f"Unnamed: {at}"
        number = 0
        while column in names:
            number += 1
            column = f"{wanted}.{number}"
        if number:
            twice.append(f"{wanted}: the later ones are {column}")
        names.append(column)
    notes = [f"{name}: several columns are called {each} here." for each in twice]
    if any(cell != cell.strip() for cell in header):
        notes.append(f"{name}: the spaces around names of columns were removed.")
    return names, notes


def _without_numbering(table: pd.DataFrame, name: str) -> tuple[pd.DataFrame, list[str]]:
    """Without empty columns that have no name, and without a first column that only numbers the rows."""
    nameless = [column for column in table.columns if column.startswith("Unnamed: ") or column == "row"]
    table = table.drop(columns=[column for column in nameless if table[column].isna().all()])
    first = str(table.columns[0]) if table.shape[1] > 1 else ""
    if first in nameless and _counts_rows(table[first]):
        note = f"{name}: the first column has no name and only numbers the rows, so it was left out."
        return table.drop(columns=first), [note]
    return table, []


def _counts_rows(column: pd.Series) -> bool:
    """Whether a column holds 0, 1, 2, … or 1, 2, 3, …"""
    if not pd.api.types.is_integer_dtype(column) or column.empty:
        return False
    return column.iloc[0] in (0, 1) and bool((np.diff(column) == 1).all())


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
