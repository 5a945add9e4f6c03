"""Measure the tiles of the Triton kernels on this GPU; those that beat the reasoned ones go to kernels/tuning.json.

The shapes are those of benchmarks/kernels/case.py, in bfloat16, and at d = 768 also in float32. Every candidate of
benchmarks/kernels/candidates.py is measured once; the reasoned tile and the fastest other tile are measured twice. The
other tile is kept only if its slower time beats the faster time of the reasoned tile by 3 % and by more than the two
times of either tile differ, because the smallest of a dozen noisy times is biased downwards.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from triton.runtime.errors import TritonError

from benchmarks.kernels.candidates import Tile, candidates
from benchmarks.kernels.clock import laps
from benchmarks.kernels.tuning_cases import Call, Case, cases
from benchmarks.record import machine, state
from kernels import tuning
from sae_core.files import write_text

MARGIN = 0.03
_SECONDS = 0.03  # the length of one measurement
_SPENT = "the budget was spent"

Row = dict[str, Any]
Measure = Callable[[Call, Sequence[Any]], float]


class Over(Exception):
    """The budget is spent."""


def tune(budget_s: float, path: Path = tuning.PATH) -> list[Row]:
    """Measure for about `budget_s` seconds, print a table, write the entries to `path`, and return one row per case.

    The entry of a case that the budget does not reach is unchanged. Without a CUDA device it raises RuntimeError.
    """
    if not torch.cuda.is_available():
        raise RuntimeError("tune measures kernels on a CUDA device, and torch sees none")
    rows = search(cases(), budget_s, median_ms)
    print(as_table(rows))
    write(rows, path)
    return rows


def median_ms(call: Call, sets: Sequence[Any]) -> float:
    return median(laps(call, sets, _SECONDS))


def search(
    of: Iterable[Case], budget_s: float, measure: Measure, clock: Callable[[], float] = time.monotonic
) -> list[Row]:
    """One row per case, measured in turn until the budget is spent; later rows say that they were not reached."""
    end = clock() + budget_s

    def in_time(call: Call, sets: Sequence[Any]) -> float:
        if clock() >= end:
            raise Over
        return measure(call, sets)

    rows: list[Row] = []
    for case in of:
        about = {"kernel": case.kernel, **case.named_sizes, "dtype": str(case.dtype).removeprefix("torch.")}
        rows.append(about | (_found(case, in_time) if clock() < end else {"missing": _SPENT}))
    return rows


def _found(case: Case, measure: Measure) -> Row:
    try:
        return compare(case, measure)
    except Over:
        return {"missing": _SPENT}
    except (RuntimeError, TritonError) as error:  # for example, not enough memory for the inputs
        return {"missing": " ".join(str(error).split())[:200]}


def compare(case: Case, measure: Measure) -> Row:
    """Two times in ms of the reasoned tile and of the fastest other tile, and whether to keep the other."""
    reasoned, *others = candidates(case.kernel, case.dtype, *case.sizes)
    call, sets = case.work()

    def timed(tile: Tile) -> float:
        with tuning.using(case.kernel, tile):
            return measure(call, sets)

    def if_it_runs(tile: Tile) -> float | None:
        try:
            return timed(tile)
        except (TritonError, torch.OutOfMemoryError):
            return None

    first = timed(reasoned)
    times = {tile: ms for tile in others if (ms := if_it_runs(tile)) is not None}
    row = {"reasoned": reasoned, "tiles": 1 + len(times), "failed": len(others) - len(times)}
    if not times:
        return row | {"reasoned_ms": [first], "kept": False}
    best = min(times, key=lambda tile: times[tile])
    reasoned_ms, best_ms = [first, timed(reasoned)], [times[best], timed(best)]
    return row | {
        "reasoned_ms": reasoned_ms,
        "tile": best,
        "tile_ms": best_ms,
        "kept": beats(best_ms, reasoned_ms),
    }


def beats(tile_ms: Sequence[float], reasoned_ms: Sequence[float]) -> bool:
    """Whether a tile is faster by more than MARGIN and by more than the measurements of either tile differ."""
    spread = max(max(ms) / min(ms) - 1 for ms in (tile_ms, reasoned_ms))
    return max(tile_ms) * (1 + max(spread, MARGIN)) < min(reasoned_ms)


def write(rows: Iterable[Row], path: Path) -> None:
    """Replace this GPU's entries for the cases in `rows`. A case where no tile beats the formula's gets no entry."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    sha, dirty = state()  # read before the file is written; `state` keeps it for later rows
    made = {"commit": f"{sha}{'-dirty' if dirty else ''}", "triton": version("triton")}
    entries = {_place(entry): entry for entry in before}
    for row in rows:
        if "missing" not in row:
            entry = _entry(row) | made
            entries.pop(_place(entry), None)
            if row["kept"]:
                entries[_place(entry)] = entry
    ordered = [entries[place] for place in sorted(entries)]
    tuning.checked(ordered)
    lines = ",\n".join(json.dumps(entry, allow_nan=False) for entry in ordered)
    write_text(path, f"[\n{lines}\n]\n" if lines else "[]\n")
    tuning.table.cache_clear()


def _entry(row: Row) -> Row:
    sizes = {name: row[name] for name in tuning.KERNELS[row["kernel"]].sizes}
    where = {"gpu": machine(), "kernel": row["kernel"], **sizes, "dtype": row["dtype"]}
    if not row["kept"]:
        return where
    times = {"ms": round(max(row["tile_ms"]), 5), "reasoned_ms": round(min(row["reasoned_ms"]), 5)}
    return where | {"tile": list(row["tile"])} | times


def _place(entry: Mapping[str, Any]) -> tuple:
    sizes = (entry[name] for name in tuning.KERNELS[entry["kernel"]].sizes)
    return entry["gpu"], entry["kernel"], entry["dtype"], *sizes


def as_table(rows: Sequence[Row]) -> str:
    """Format the rows as a table, including the cases that were not reached."""
    lines = [
        f"{'kernel':<18}{'sizes':<20}{'dtype':<10}{'reasoned':<22}{'ms':>9}  {'fastest other':<22}{'ms':>9}"
    ]
    for row in rows:
        sizes = ", ".join(f"{name} {row[name]}" for name in tuning.KERNELS[row["kernel"]].sizes)
        line = f"{row['kernel']:<18}{sizes:<20}{row['dtype']:<10}"
        if "missing" in row:
            lines.append(f"{line}missing: {row['missing']}")
            continue
        line += f"{list(row['reasoned'])!s:<22}{min(row['reasoned_ms']):9.4f}  "
        if "tile" in row:
            line += f"{list(row['tile'])!s:<22}{max(row['tile_ms']):9.4f}{'  kept' if row['kept'] else ''}"
        lines.append(line + (f"  failed: {row['failed']}" if row["failed"] else ""))
    kept, missing = sum(row.get("kept", False) for row in rows), sum("missing" in row for row in rows)
    return "\n".join([*lines, f"{kept} of {len(rows) - missing} cases keep another tile; {missing} missing"])
