"""Speed of kernels and of training steps, compared with peers. `make bench-kernels`, `saescale bench kernels`

In this folder `kernels` always means the package at the top of the repository, which is measured here.
Times are medians over calls on several input sets in turn: on CUDA between events, with the cache emptied before each
call; on a CPU the CPU time of one thread, on smaller shapes. GB/s counts the bytes that a call must move, with each row
of a gather counted once per use. The share is the time that these bytes would take at the ceilings measured in the same
run (only reading random rows of W or of X, and copying memory), divided by the measured time.
Indices are uniform (skew 0) or Zipf-distributed (skew 1; at the first shape also 1.2), and no latent is active on more
than every second token. Errors are relative to float64, on a sample. Rows are written to results/<machine>.json as each
shape ends.
"""

import gc
import math
import sys
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks import record
from benchmarks.kernels import ceilings, peers
from benchmarks.kernels.case import CPU, CUDA, QUICK, Shape, inputs
from benchmarks.kernels.clock import laps
from benchmarks.kernels.steps import batches, bytes_of, contenders
from benchmarks.kernels.table import as_table, goals
from benchmarks.kernels.works import OURS, Work, bytes_of_tables, gathers, selections, steps_of_tables
from benchmarks.train.case import device
from sae_core.training.memory import is_out_of_memory

PACKAGES = ("saescale", "torch", "triton", "numpy", "eai-sparsify", "llamascopium")
DTYPES = {"cuda": torch.bfloat16, "cpu": torch.float32}
_GRACE = 60.0  # seconds beyond the budget in which a shape that has begun may finish
_NO_MEMORY = "out of memory"
Row = dict[str, Any]


def of_shape(shape: Shape, absent: Container[str], first: bool) -> Iterator[Row]:
    """The rows of one shape, whole steps first. first: the goals' shape, with more skews and also in float32."""
    copied = ceilings.copy_gb_s()
    sizes = {"d": shape.d, "n": shape.n, "k": shape.k, "B": shape.B}
    narrow = DTYPES[device()]
    yield from (sizes | {"dtype": _name(narrow)} | row for row in steps(shape, absent))
    for dtype in dict.fromkeys((narrow, torch.float32) if first else (narrow,)):
        about = sizes | {"dtype": _name(dtype)}
        limits = {
            "copy": copied,
            "table": ceilings.gather_gb_s(shape, dtype, rows=shape.n),
            "batch": ceilings.gather_gb_s(shape, dtype, rows=shape.B),
        }
        product = ceilings.product_tflop_s(shape, dtype)
        speeds = {f"{name}_gb_s": speed for name, speed in limits.items()}
        yield about | {"op": "ceilings"} | speeds | {"tflop_s": product}
        works, scores = selections(shape, dtype)
        yield from (about | {"B": len(scores[0])} | row for row in measured(works, scores, limits))
        del works, scores
        for skew in (0.0, 1.0, 1.2) if first else (0.0, 1.0):
            some = inputs(shape, skew, dtype)
            works = gathers(shape, dtype) + peers.decodes(shape, dtype, absent)
            yield from (about | {"skew": skew} | row for row in measured(works, some, limits))
            del works
            free()
            yield from (about | {"skew": skew} | row for row in tables(shape, dtype, some, skew, limits))
            del some
            free()


def tables(
    shape: Shape, dtype: torch.dtype, some: Sequence[Any], skew: float, limits: Mapping[str, float]
) -> Iterator[Row]:
    """The rows of Adam on whole tables. Calls that read no index are measured at one skew only."""
    try:
        fits(bytes_of_tables(shape, dtype))
        works = steps_of_tables(shape, dtype)
    except (RuntimeError, MemoryError) as failure:
        yield {"op": "rowwise_adam_", "who": OURS, "failed": _message(failure)}
        return
    yield from measured([w for w in works if skew == 1.0 or "batch" in w.bytes], some, limits)


def measured(works: Sequence[Work], sets: Sequence[Any], limits: Mapping[str, float]) -> Iterator[Row]:
    """One row per call. The row of a call that failed has the reason."""
    for work in works:
        row: Row = {"op": work.op, "who": work.who}
        try:
            times = laps(work.call, sets)
            error = None if work.error is None else work.error(sets[-1])
            if error is not None and not math.isfinite(error):
                raise ArithmeticError(f"its relative error is {error}")
        except Exception as failure:
            yield row | {"failed": _message(failure)}
            continue
        ms = median(times)
        floor = sum(number / limits[name] for name, number in work.bytes.items()) / 1e6
        speed = {"gb_s": sum(work.bytes.values()) / ms / 1e6, "floor_ms": floor, "share": floor / ms}
        yield row | _times(times) | speed | {"max_rel_err": error}


def steps(shape: Shape, absent: Container[str]) -> Iterator[Row]:
    """One row for each contender's whole step, after a row for the encoder's product."""
    x = batches(shape)
    for name, make in contenders(shape, x, absent):
        row: Row = {"op": "step", "who": name}
        try:
            fits(bytes_of(shape, name))
            yield row | _times(laps(make(), x, seconds=0.5))
        except Exception as failure:
            yield row | {"failed": _message(failure)}
        free()


def _times(times: Sequence[float]) -> Row:
    return {"ms": median(times), "least": min(times), "most": max(times), "laps": len(times)}


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _message(failure: Exception) -> str:
    if is_out_of_memory(failure):
        return _NO_MEMORY
    return f"{type(failure).__name__}: {str(failure).strip().splitlines()[0] if str(failure).strip() else ''}"


def fits(needed: float) -> None:
    """Raise MemoryError if the GPU has fewer than `needed` bytes free."""
    if device() == "cuda" and needed > torch.cuda.mem_get_info()[0]:
        raise MemoryError


def free() -> None:
    gc.collect()
    if device() == "cuda":
        torch.cuda.empty_cache()


def run(shapes: Sequence[Shape], budget: float, peers_folder: Path | None, results: Path) -> int:
    """Measure the shapes in turn until `budget` seconds have passed; the exit code is 1 if one of our calls failed.

    Running out of memory is not a failure: it is printed and gives no row.
    """
    began, absent, rows, sound = time.monotonic(), peers.missing(peers_folder), list[Row](), True
    print(f"{record.machine()}, {device()}")
    for name, why in absent.items():
        print(f"{name}: missing: {why}")
    for number, shape in enumerate(shapes):
        if time.monotonic() - began > budget:
            print(f"{shape}: not measured: {budget:.0f} s are over")
            continue
        measured_rows, ended, fine = _until(
            of_shape(shape, absent, first=number == 0), began + budget + _GRACE
        )
        free()
        print(f"\n{shape}\n{as_table(measured_rows)}{ended}", flush=True)
        sound = sound and fine
        measured_rows = [row for row in measured_rows if row.get("failed") != _NO_MEMORY]
        rows += measured_rows
        if measured_rows:
            print(f"added to {record.append('kernels', measured_rows, PACKAGES, results)}")
    print("\n".join(["", *goals(rows), f"{time.monotonic() - began:.0f} s"]))
    failed = any("failed" in row and row["who"] == OURS for row in rows)
    return 0 if rows and sound and not failed else 1


def _until(rows: Iterator[Row], end: float) -> tuple[list[Row], str, bool]:
    """The rows measured before `end`, the reason if some are missing, and whether that reason is acceptable."""
    found: list[Row] = []
    try:
        for row in rows:
            found.append(row)
            if time.monotonic() > end:
                return found, "\nended early: the time is over", True
    except Exception as failure:  # mostly inputs that do not fit; the rows so far are kept in any case
        return found, f"\nended early: {_message(failure)}", is_out_of_memory(failure)
    return found, "", True


def main(arguments: Sequence[str] | None = None) -> int:
    p = record.parser("kernels", __doc__)
    p.add_argument("--quick", action="store_true", help="a tiny shape: does it run?")
    p.add_argument(
        "--budget", type=float, default=420.0, metavar="SECONDS", help="no shape is begun after these"
    )
    p.add_argument("--shapes", type=int, metavar="N", help="only the first N shapes")
    p.add_argument("--peers", type=Path, default=peers.folder(), metavar="FOLDER", help="the peers' packages")
    p.add_argument("--results", type=Path, default=record.RESULTS, help="where the rows go")
    p.add_argument("--tune", action="store_true", help="measure tiles and write kernels/tuning.json instead")
    options = p.parse_args(arguments)
    if options.tune and device() != "cuda":
        p.error("--tune measures on a CUDA device, and torch sees none")
    if options.tune:
        from benchmarks.kernels.tuning import tune

        rows = tune(options.budget)
        print(f"added to {record.append('kernel_tuning', rows, PACKAGES, options.results)}")
        return 0
    if device() == "cpu":
        torch.set_num_threads(1)
    shapes = QUICK if options.quick else CUDA if device() == "cuda" else CPU
    return run(shapes[: options.shapes], options.budget, options.peers, options.results)


if __name__ == "__main__":
    sys.exit(main())
