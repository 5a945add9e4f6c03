"""Tables in JSON: records, columns, pandas' `split`, an object around one list, lines of objects, results of SAEs.

Objects inside a row become columns with dotted names, `eval_result_metrics.sparsity.l0`, as in the CSV that SAELens
writes and in the exports of Weights & Biases.
"""

import ast
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from fit.law.errors import FitError

_SHORT_LIST = 20  # a list of at most so many plain values is kept as text
# What a result of SAEBench has beside its metrics: an entry for each latent, thousands of them.
_PER_LATENT = ("eval_result_details", "eval_result_unstructured", "feature_metrics")
_RESULTS = ("eval_result_metrics", "eval_type_id")
_NOT_PYTHON = re.compile(r"(?<=[\s:\[,{(])(-?)(nan|inf|NaN|Infinity)(?=[\s,\]})])")


Rows = list[dict[str, Any]] | pd.DataFrame


def parse_json(text: str, name: str) -> tuple[pd.DataFrame, list[str]]:
    """The table in a JSON document or in lines of JSON, and notes. FitError if there is none, with the line."""
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        if error.msg != "Extra data" or len(lines) < 2:
            raise FitError(
                f"{name} looks like JSON and is not ({_why(error)}, in line {error.lineno}): is it complete?"
            ) from error
        rows = [_line(line, number, name) for number, line in lines]
        table, notes = table_of(rows, name)
        return table, [f"{name} was read as lines of JSON, a row each: {_size(table)}.", *notes]
    shape, how, notes = _shape(content, name)
    table, more = table_of(shape, name) if isinstance(shape, list) else (shape, [])
    return table, [f"{name} was read as {how}: {_size(table)}.", *notes, *more]


def _why(error: json.JSONDecodeError) -> str:
    return error.msg.removesuffix(" starting at").lower()


def _size(table: pd.DataFrame) -> str:
    rows, columns = table.shape
    return f"{rows:,} row{'s' * (rows != 1)}, {columns:,} column{'s' * (columns != 1)}"


def _line(line: str, number: int, name: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise FitError(
            f"Line {number} of {name} is not JSON ({_why(error)}): is the file complete?"
        ) from error
    if not isinstance(row, dict):
        raise FitError(
            f"Line {number} of {name} holds {line.strip()[:40]!r} and not an object with named values."
        )
    return row


def _shape(content: Any, name: str) -> tuple[Rows, str, list[str]]:
    """The rows of a document, the name of its shape, and notes on what was left out."""
    if isinstance(content, list):
        return _list(content, name)
    if not isinstance(content, dict) or not content:
        raise FitError(f"{name} holds {str(content)[:40]!r} and no table.")
    if {"saescale", "fits"} <= set(content):
        raise FitError(
            f"{name} holds fits that `saescale fit` wrote: name the table of runs, and these with --fits."
        )
    if any(key in content for key in _RESULTS):
        return [content], "the results of one SAE, which are one row", []
    if {"columns", "data"} <= set(content) and isinstance(content["data"], list):
        _same_length(content["data"], len(content["columns"]), name)
        return pd.DataFrame(content["data"], columns=content["columns"]), "columns and data (split)", []
    if all(isinstance(value, list) and not _nested(value) for value in content.values()):
        return _columns(content, name), "an object of columns", []
    tables = [key for key, value in content.items() if isinstance(value, list) and _are_objects(value)]
    if tables:
        return _around(content, tables, name)
    objects = [value for value in content.values() if isinstance(value, dict)]
    if len(objects) == len(content) and len({frozenset(each) for each in objects}) == 1:
        return _of_objects(content)
    return [content], "one object, which is one row", []


def _list(content: list[Any], name: str) -> tuple[Rows, str, list[str]]:
    if _are_objects(content):
        return content, "a list of objects, a row each", []
    if len(content) > 1 and all(isinstance(row, list) for row in content) and _names(content[0]):
        header, *rows = content
        _same_length(rows, len(header), name)
        return pd.DataFrame(rows, columns=header), "a list of rows below their header", []
    raise FitError(
        f'{name} is a list, but not of objects with named values, such as {{"n_latents": 512, …}}.'
    )


def _nested(cells: list[Any]) -> bool:
    return any(isinstance(cell, dict | list) for cell in cells)


def _are_objects(rows: list[Any]) -> bool:
    return bool(rows) and all(isinstance(row, dict) for row in rows)


def _columns(content: Mapping[str, list[Any]], name: str) -> pd.DataFrame:
    if len({len(cells) for cells in content.values()}) > 1:
        lengths = ", ".join(f"{key} {len(cells)}" for key, cells in content.items())
        raise FitError(f"{name} is an object of lists of different lengths ({lengths}): is it complete?")
    return pd.DataFrame(content)


def _around(content: Mapping[str, Any], tables: list[str], name: str) -> tuple[Rows, str, list[str]]:
    """The one list of objects in an object, such as {"date": …, "runs": [{…}, …]}."""
    if len(tables) > 1:
        listed = ", ".join(tables)
        raise FitError(
            f"{name} holds {len(tables)} tables ({listed}): save one of them as a file of its own."
        )
    beside = ", ".join(key for key in content if key != tables[0])
    left = [f"{name}: what stands beside the list {tables[0]} was left out: {beside}."] if beside else []
    return content[tables[0]], f"the list {tables[0]} of an object", left


def _of_objects(content: Mapping[str, Mapping[str, Any]]) -> tuple[Rows, str, list[str]]:
    """{column: {row: value}}, as pandas writes it, if only the inner keys count rows; else {row: {column: value}}.

    The keys of rows become the column `name` unless they count.
    """
    inner = next(iter(content.values()))
    counted = all(key.isdigit() for key in content)
    if all(key.isdigit() for key in inner) and not counted:
        columns = {column: list(cells.values()) for column, cells in content.items()}
        return pd.DataFrame(columns), "an object of columns", []
    rows = [({} if counted else {"name": key}) | dict(row) for key, row in content.items()]
    return rows, "an object of rows" + ("" if counted else ", whose names are the column name"), []


def _names(row: Sequence[Any]) -> bool:
    return bool(row) and all(isinstance(cell, str) for cell in row)


def _same_length(rows: Sequence[Any], width: int, name: str) -> None:
    for number, row in enumerate(rows, 1):
        if not isinstance(row, list) or len(row) != width:
            raise FitError(f"Row {number} of {name} has not {width} values as its columns: is it complete?")


def table_of(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[pd.DataFrame, list[str]]:
    """Rows of nested objects as a table with dotted names, and a note on lists that were left out."""
    dropped: dict[str, None] = {}
    table = pd.DataFrame([_flat(row, "", dropped) for row in rows])
    notes = []
    if dropped:
        some = ", ".join(list(dropped)[:5]) + (f" and {len(dropped) - 5} more" if len(dropped) > 5 else "")
        notes.append(f"{name}: lists inside its rows were left out: {some}.")
    return table, notes


def _flat(row: Mapping[str, Any], prefix: str, dropped: dict[str, None]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in row.items():
        path = f"{prefix}{key}"
        if key in _PER_LATENT and value:
            dropped[path] = None
        elif isinstance(value, Mapping):
            flat |= _flat(value, f"{path}.", dropped)
        elif isinstance(value, list | tuple):
            if len(value) > _SHORT_LIST or any(isinstance(each, dict | list) for each in value):
                dropped[path] = None
            else:
                flat[path] = json.dumps(value, ensure_ascii=False)
        else:
            flat[path] = value
    return flat


def with_objects_as_columns(table: pd.DataFrame, name: str) -> tuple[pd.DataFrame, list[str]]:
    """Columns of objects, also as text (`{'lr': 0.001}`), as columns with dotted names.

    This is how the table looks that the public API of Weights & Biases is saved in, with columns summary and config.
    """
    notes = []
    for column in list(table.columns):
        objects = _objects(table[column])
        if objects is None:
            continue
        inner, more = table_of([{str(column): each or {}} for each in objects], name)
        inner.index = table.index
        clash = [each for each in inner.columns if each in table.columns]
        table = table.drop(columns=column).join(inner.drop(columns=clash))
        several = inner.shape[1] > 1
        became = (
            f"{inner.shape[1]} columns, as {inner.columns[0]}"
            if several
            else f"the column {inner.columns[0]}"
        )
        notes += [f"{name}: the objects in column {column} became {became}.", *more]
    return table, notes


def _objects(column: pd.Series) -> list[Any] | None:
    """The objects that a column holds; None if it holds anything else."""
    if pd.api.types.is_numeric_dtype(column) or column.isna().all():
        return None
    objects = []
    for cell in column.tolist():
        if isinstance(cell, str):
            text = cell.strip()
            if not (text.startswith("{") and text.endswith("}")):
                return None
            cell = _object(text)
        if not isinstance(cell, dict) and not (cell is None or cell is pd.NA or cell != cell):
            return None
        objects.append(cell if isinstance(cell, dict) else None)
    return objects if any(objects) else None


def _object(text: str) -> Any:
    """An object written as JSON or by Python, whose nan is no literal. Nothing is executed."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        pass
    replaced = _NOT_PYTHON.sub(
        lambda match: "None" if match[2].lower() == "nan" else f"{match[1]}1e999", text
    )
    try:
        return ast.literal_eval(replaced)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
