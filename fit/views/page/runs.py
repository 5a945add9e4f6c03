"""The table of all runs: plain HTML for everybody, and for page.js the same rows with every column."""

import json
from typing import Any

import numpy as np
import pandas as pd

from fit.views.page import states as standing
from fit.views.page.cells_format import MISSING, known, names, shown, values
from fit.views.page.design import CONFIG
from fit.views.page.markup import Html, join, tag
from fit.views.page.source import Source

# What is shown at first, where it is known; of the configuration only what differs between runs.
SHOWN = (
    "state", "n_latents", "k", "lr", "batch_tokens", "seed", "data", "model", "layer", "d_model", "activation",
    "tokens", "nmse", "converged", "dead_fraction", "flops_sparse", "tokens_per_second", "run_id", "failure", "message",
)  # fmt: skip
ORDER = ("study", "data", "d_model", "k", "n_latents", "lr", "batch_tokens", "seed", "run_id")


def runs(source: Source) -> Html:
    """The section."""
    table = _ordered(source.runs)
    empty = [column for column in table.columns if not table[column].notna().any()]
    columns = [column for column in table.columns if column not in empty]
    shown_first = [c for c in SHOWN if c in columns and not (_constant(table, c) and c in CONFIG)] or columns[
        :12
    ]
    cells = {column: _column(table, column) for column in columns}
    rows = [
        tag("tr", *(_cell(column, cells[column], i) for column in shown_first)) for i in range(len(table))
    ]
    head = [
        tag("th", column, scope="col", class_="num" if cells[column]["numeric"] else None, data_column=column)
        for column in shown_first
    ]
    content = tag(
        "table",
        tag("caption", f"All {len(table):,} runs"),
        tag("thead", tag("tr", *head)),
        tag("tbody", *rows),
        id="runs-table",
    )
    states = list(standing.counts(table)) if "state" in columns else []
    data = {"columns": cells, "shown": shown_first, "states": states}
    parts = [
        tag("div", id="runs-controls", hidden=True),
        tag("div", content, class_="box tall", role="region", aria_label="All runs", tabindex="0"),
        tag("noscript", tag("p", "Without a script the table is complete but neither sorts nor filters.")),
        tag("script", _data(data), type="application/json", id="runs-data"),
    ]
    if empty:
        parts.append(tag("p", f"Empty in every run: {', '.join(empty)}.", class_="note"))
    return join(parts)


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    """The runs by their configuration, numbers as numbers; the same whatever order the file has."""
    keys = [column for column in ORDER if column in table.columns]
    by = pd.DataFrame(
        {c: values(table, c) if values(table, c).notna().any() else names(table, c) for c in keys}
    )
    return table.loc[by.sort_values(keys, kind="stable").index] if keys else table


def _constant(table: pd.DataFrame, column: str) -> bool:
    return len(table) > 1 and names(table, column).nunique() <= 1


def _column(table: pd.DataFrame, column: str) -> dict[str, Any]:
    """The cells of a column: as text, and as numbers to sort by where it holds numbers, null where one is missing."""
    if column == "state":
        return {"numeric": False, "texts": standing.states(table).tolist()}
    texts = [shown(value, column) for value in table[column]]
    numeric = pd.api.types.is_numeric_dtype(table[column]) and not pd.api.types.is_bool_dtype(table[column])
    if not numeric:
        return {
            "numeric": False,
            "texts": [t if known(v) else None for t, v in zip(texts, table[column], strict=True)],
        }
    numbers = values(table, column).tolist()
    return {"numeric": True, "texts": texts, "values": [v if np.isfinite(v) else None for v in numbers]}


def _cell(column: str, cells: dict[str, Any], i: int) -> Html:
    text = cells["texts"][i]
    if column == "state" and text is not None:
        return tag("td", tag("span", text, class_=f"state {text if text in standing.ORDER else 'unknown'}"))
    return tag("td", MISSING if text is None else text, class_="num" if cells["numeric"] else None)


def _data(content: dict[str, Any]) -> Html:
    """JSON that cannot end its own element: < and > and & are written as escapes."""
    written = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Html(written.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
