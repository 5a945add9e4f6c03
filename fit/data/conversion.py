"""Columns of text that hold numbers, as numbers, with one sentence for each way in which they were written.

Only columns that need numbers are converted: those of `fit.data.columns` that hold numbers, and those that a mapping
names. A cell that is not a number stays as it is, so that a condition can leave its row out; `fit.data.tables.numbers`
refuses it where it is needed. A column of texts, such as names of runs, is never touched.

`k` and `M` behind a count of latents, the width d or the tokens of a step mean 1,024 and 1,024² where every such value
of the column is then a power of two, or is a power of two cut to its thousands (65k for 65,536), as is the field's
habit; else 1,000 and 1,000². The sentence says which was taken.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import pandas as pd

from fit.data.columns import CURVES, NUMBER, RUNS, WHOLE
from fit.data.quantities import (
    FLOPS,
    MISSING,
    SUFFIXES,
    TOKENS,
    TOKENS_PER_SECOND,
    Form,
    Quantity,
    Refusal,
    number,
    parse,
    unit_factor,
)

_COLUMNS = {column.name: column for column in (*CURVES, *RUNS)}
# Columns whose values are powers of two by habit, and what they count.
_BINARY = {
    "n_latents": frozenset({"latents", "features", "latent", "feature", "params", "parameters"}),
    "batch_tokens": frozenset[str](),
    "d_model": frozenset({"dimensions"}),
    "k": frozenset({"latents"}),
}


@dataclass(frozen=True)
class Need:
    """What a column must hold: a number in a unit. known: whether the column is one of ours."""

    name: str
    unit: str = ""
    whole: bool = False
    known: bool = True

    @property
    def count(self) -> bool:
        """Whether 16k makes sense: it counts something, or is large enough to be written with a suffix."""
        return self.whole or self.unit in (FLOPS, TOKENS, TOKENS_PER_SECOND) or not self.known


def need(name: str) -> Need | None:
    """What the column of ours with this name must hold; None if it holds texts or flags."""
    column = _COLUMNS.get(name)
    if column is None:
        return Need(name, known=False)
    return Need(name, column.unit, column.dtype == WHOLE) if column.dtype in (WHOLE, NUMBER) else None


@dataclass(frozen=True)
class Numbers:
    """A column read as numbers.

    values: numbers, and the texts that are none. notes: a sentence for each way of writing that was read. refused: why
    a text is not a number, by the text.
    """

    values: pd.Series
    notes: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


def read_numbers(column: pd.Series, wanted: Need, label: str = "") -> Numbers:
    """The numbers of a column that holds texts.

    Parameters
    ----------
    column
        A column of any type; one that holds no texts is returned as it is.
    wanted
        What it must hold.
    label
        What the notes call it.
    """
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column):
        return Numbers(column)
    texts = list(dict.fromkeys(cell for cell in column.dropna().tolist() if isinstance(cell, str)))
    if not texts:
        return Numbers(column)
    read = _Read(wanted, texts)
    if not read.quantities or read.mixed or (not wanted.known and read.refused):
        return Numbers(column, (), read.refused)
    replaced = {text: read.value(text) for text in texts if text not in read.refused}
    cells = [replaced.get(cell, cell) if isinstance(cell, str) else cell for cell in column.tolist()]
    values = pd.Series([None if cell is pd.NA else cell for cell in cells], index=column.index, dtype=object)
    if not read.refused:
        # Of what is large, such as FLOPs, whole numbers would overflow in a product.
        values = pd.to_numeric(values) if wanted.whole else values.astype(float)
    counts = column.value_counts()
    return Numbers(values, read.notes(label or wanted.name, counts), read.refused)


class _Read:
    """The different texts of a column as quantities, and why some are none."""

    def __init__(self, wanted: Need, texts: list[str]) -> None:
        self.wanted = wanted
        self.quantities: dict[str, Quantity] = {}
        self.missing: list[str] = []
        self.refused: dict[str, str] = {}
        nouns = _BINARY.get(wanted.name, frozenset[str]())
        for text in texts:
            if text.strip().lower() in MISSING:
                self.missing.append(text)
                continue
            infinite = _infinite(text)
            read = infinite or parse(text, wanted.unit, wanted.count, nouns)
            if isinstance(read, Refusal):
                self.refused[text] = read.reason
            elif isinstance(read, Quantity):
                self.quantities[text] = read
        self.mixed = False
        self.infinite = {text: value for text in texts if (value := _infinite(text)) is not None}
        self._refuse_mixed()
        self._settle_commas()
        self.binary = self._is_binary()

    def _refuse_mixed(self) -> None:
        """Percentages beside plain numbers, and units beside none: what the plain ones mean is not known."""
        scaled = [
            text
            for text, read in self.quantities.items()
            if read.suffix == "%" or (read.unit and unit_factor(read.unit, self.wanted.unit) not in (None, 1))
        ]
        bare = [
            text
            for text, read in self.quantities.items()
            if not read.suffix and not read.unit and read.digits
        ]
        if scaled and bare:
            self.mixed = True
            first = next(iter(scaled))
            for text in bare:
                del self.quantities[text]
                self.refused[text] = f"it has no unit, where {first!r} has one: write all of them one way"

    def _settle_commas(self) -> None:
        """`1,024` is 1024 in a column of counts, and in one with a second sign that commas stand between thousands."""
        unclear = {text for text, read in self.quantities.items() if read.ambiguous}
        if not unclear or self.wanted.whole:
            return
        sure = [read for text, read in self.quantities.items() if text not in unclear]
        if any(read.form is Form.DECIMAL_COMMA for read in sure):
            for text in unclear:
                read = self.quantities[text]
                self.quantities[text] = Quantity(
                    read.digits / 1000, Form.DECIMAL_COMMA, read.suffix, read.unit, read.factor
                )
        elif not any(read.form is Form.GROUPED for read in sure):
            for text in unclear:
                plain = self.quantities.pop(text).digits
                self.refused[text] = (
                    f"it may be {number(plain / 1000)} or {number(plain)}: write it without the comma"
                )

    def _is_binary(self) -> bool:
        read = [each for each in self.quantities.values() if each.suffix.lower() in ("k", "m")]
        return self.wanted.name in _BINARY and bool(read) and all(_power_of_two(each) for each in read)

    def value(self, text: str) -> int | float | None:
        """The number of a text that was not refused."""
        if text in self.infinite:
            return self.infinite[text]
        read = self.quantities.get(text)
        if read is None:
            return np.nan
        power = _power_of_two(read) if self.binary and read.suffix.lower() in ("k", "m") else None
        return power or read.value

    def notes(self, label: str, counts: pd.Series) -> tuple[str, ...]:
        """A sentence for each way of writing, with how many cells are written so and what the first became."""
        kinds: dict[tuple[Form, str, str], list[str]] = {}
        for text, read in self.quantities.items():
            if read.form is not Form.PLAIN or read.suffix or (read.unit and read.factor != 1):
                kinds.setdefault((read.form, read.suffix, read.unit), []).append(text)
        notes = []
        for texts in kinds.values():
            example, read, count = texts[0].strip(), self.quantities[texts[0]], int(counts[texts].sum())
            value = self.value(texts[0])
            became = f"{value}" if read.form is Form.GROUPED else _written(value)
            notes.append(
                f"{label}: {_values(count, example)} read {self._how(read, count)}: "
                f"{example} is {became}{self._unit()}."
            )
        odd = [text for text in self.missing if text.strip().lower() in {"-", "–", "—", "?", "."}]
        if odd:
            notes.append(f"{label}: {_values(int(counts[odd].sum()), odd[0].strip())} taken as missing.")
        return tuple(notes)

    def _unit(self) -> str:
        return f" {self.wanted.unit}" if self.wanted.unit else ""

    def _how(self, read: Quantity, count: int) -> str:
        parts = []
        if read.form is Form.POWER:
            parts.append("as a power" if count == 1 else "as powers")
        elif read.form is not Form.PLAIN:
            parts.append(f"with {read.form}")
        if read.suffix == "%":
            parts.append("as percent")
        elif read.suffix and self.binary and read.suffix.lower() in ("k", "m"):
            factor = "1,024" if read.suffix.lower() == "k" else "1,024²"
            parts.append(
                f"with {read.suffix} for {factor}, because every one is then a power of two (write the numbers out if "
                f"{read.suffix} is {SUFFIXES[read.suffix.lower()]:,})"
            )
        elif read.suffix:
            parts.append(f"with {read.suffix} for {SUFFIXES[read.suffix.lower()]:,}")
        factor_of_unit = unit_factor(read.unit, self.wanted.unit) if read.unit else None
        if isinstance(factor_of_unit, Fraction) and factor_of_unit != 1:
            parts.append(f"in {read.unit} of {_written(number(factor_of_unit))} {self.wanted.unit}")
        return " and ".join(parts)


def _values(count: int, example: str) -> str:
    return f"1 value, {example}, was" if count == 1 else f"{count:,} values such as {example} were"


def _infinite(text: str) -> float | None:
    plain = text.strip().lower().replace("∞", "inf").replace("infinity", "inf")
    return float(plain) if plain in ("inf", "+inf", "-inf") else None


def _power_of_two(read: Quantity) -> int | None:
    """The power of two that 16k, 64k or 65k stands for; None if there is none."""
    power = 1 if read.suffix.lower() == "k" else 2
    binary, decimal = read.digits * 1024**power, read.digits * 1000**power
    if binary.denominator == 1 and binary > 0 and int(binary).bit_count() == 1:
        return int(binary)
    near = 2 ** round(float(np.log2(float(decimal)))) if decimal > 0 else 1
    # Cut or rounded where it was written: 65k is 65,536, and 1.05M is 1,048,576.
    step = Fraction(1, 10 ** len(str(float(read.digits)).partition(".")[2].rstrip("0")))
    exact = Fraction(near, 1000**power)
    return (
        near
        if near >= 1000 and abs(exact - read.digits) < step and exact / read.digits < Fraction(11, 10)
        else None
    )


def _written(value: float | int | None) -> str:
    """A number in a note: whole ones up to 10^15 with commas, else up to six digits."""
    assert value is not None
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.6g}"


def header_unit(header: str, wanted: Need) -> tuple[str, Fraction] | None:
    """The unit in the brackets that end a header, as `C (PFLOPs)` or `loss [%]`, and its factor; None without one."""
    text = header.strip()
    if not text or text[-1] not in ")]":
        return None
    unit = text[:-1].replace("[", "(").rpartition("(")[2].strip()
    if unit == "%":
        return (unit, Fraction(1, 100)) if not (wanted.whole or wanted.unit) else None
    factor = unit_factor(unit, wanted.unit)
    if (
        factor is None
        and wanted.count
        and unit in ("k", "K", "M", "B", "T", "thousand", "million", "billion")
    ):
        factor = Fraction(SUFFIXES[unit.lower()])
    return (unit, factor) if isinstance(factor, Fraction) and factor != 1 else None
