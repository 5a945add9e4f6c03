"""The kernels beside their peers, and whole training steps made of them. `make bench-kernels`, `saescale bench kernels`

Times are medians of calls on several input sets in turn, on CUDA between events with the cache emptied before each
call, on a CPU the CPU time of one thread on smaller shapes. GB/s counts what a call has to move, each row of a gather
once a use; its share is the time that these bytes take at the ceilings measured in the same run (random rows of W or
of X read and nothing else, memory copied) over the time taken.
Indices are uniform (skew 0) and Zipf-distributed (1; at the first shape 1.2 too), no latent more often than in every
second token. Errors are against float64, on a sample. Rows go to results/<machine>.json as each shape ends.
"""

import argparse
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
from benchmarks.kernels import case as kernel_case
from benchmarks.kernels import ceilings as kernel_ceilings
from benchmarks.kernels import peers as kernel_peers
from benchmarks.kernels import steps as kernel_steps
from benchmarks.kernels import works as kernel_works
from benchmarks.kernels.case import Shape
from benchmarks.kernels.clock import laps
from benchmarks.kernels.shown import goals, shown
from benchmarks.kernels.works import OURS, Work
from benchmarks.train.case import device
from sae_core.training.memory import is_out_of_memory

PACKAGES = ("saescale", "torch", "triton", "numpy", "eai-sparsify", "llamascopium")
DTYPES = {"cuda": torch.bfloat16, "cpu": torch.float32}
_GRACE = 60.0  # seconds after the budget in which a shape that has begun may end
_NO_MEMORY = "out of memory"
Row = dict[str, Any]


def of_shape(shape: Shape, absent: Container[str], first: bool) -> Iterator[Row]:
    """The rows of one shape, whole steps first; first: it is that of the goals, with more skews and float32 too."""
    copied = kernel_ceilings.copy_gb_s()
    sizes = {"d": shape.d, "n": shape.n, "k": shape.k, "B": shape.B}
    narrow = DTYPES[device()]
    yield from (sizes | {"dtype": _name(narrow)} | row for row in steps(shape, absent))
    for dtype in dict.fromkeys((narrow, torch.float32) if first else (narrow,)):
        about = sizes | {"dtype": _name(dtype)}
        ceilings = {
            "copy": copied,
            "table": kernel_ceilings.gather_gb_s(shape, dtype, rows=shape.n),
            "batch": kernel_ceilings.gather_gb_s(shape, dtype, rows=shape.B),
        }
        product = kernel_ceilings.product_tflop_s(shape, dtype)
        speeds = {f"{name}_gb_s": speed for name, speed in ceilings.items()}
        yield about | {"op": "ceilings"} | speeds | {"tflop_s": product}
        works, scores = kernel_works.selections(shape, dtype)
        yield from (about | {"B": len(scores[0])} | row for row in measured(works, scores, ceilings))
        del works, scores
        for skew in (0.0, 1.0, 1.2) if first else (0.0, 1.0):
            some = kernel_case.inputs(shape, skew, dtype)
            works = kernel_works.gathers(shape, dtype) + kernel_peers.decodes(shape, dtype, absent)
            yield from (about | {"skew": skew} | row for row in measured(works, some, ceilings))
            del works
            free()
            yield from (about | {"skew": skew} | row for row in tables(shape, dtype, some, skew, ceilings))
            del some
            free()


def tables(
    shape: Shape, dtype: torch.dtype, some: Sequence[Any], skew: float, ceilings: Mapping[str, float]
) -> Iterator[Row]:
    """The rows of the steps of whole tables; those that look at no index at one skew only."""
    try:
        fits(kernel_works.bytes_of_tables(shape, dtype))
        works = kernel_works.steps_of_tables(shape, dtype)
    except (RuntimeError, MemoryError) as failure:
        yield {"op": "rowwise_adam_", "who": OURS, "failed": _said(failure)}
        return
    yield from measured([w for w in works if skew == 1.0 or "batch" in w.bytes], some, ceilings)


def measured(works: Sequence[Work], sets: Sequence[Any], ceilings: Mapping[str, float]) -> Iterator[Row]:
    """A row of each work, and one that says what went wrong where it failed."""
    for work in works:
        row: Row = {"op": work.op, "who": work.who}
        try:
            times = laps(work.call, sets)
            error = None if work.error is None else work.error(sets[-1])
            if error is not None and not math.isfinite(error):
                raise ArithmeticError(f"its relative error is {error}")
        except Exception as failure:
            yield row | {"failed": _said(failure)}
            continue
        ms = median(times)
        floor = sum(number / ceilings[name] for name, number in work.bytes.items()) / 1e6
        speed = {"gb_s": sum(work.bytes.values()) / ms / 1e6, "floor_ms": floor, "share": floor / ms}
        yield row | _times(times) | speed | {"max_rel_err": error}


def steps(shape: Shape, absent: Container[str]) -> Iterator[Row]:
    """A row of each contender's whole step, the encoder's product first."""
    x = kernel_steps.batches(shape)
    for name, make in kernel_steps.contenders(shape, x, absent):
        row: Row = {"op": "step", "who": name}
        try:
            fits(kernel_steps.bytes_of(shape, name))
            yield row | _times(laps(make(), x, seconds=0.5))
        except Exception as failure:
            yield row | {"failed": _said(failure)}
        free()


def _times(times: Sequence[float]) -> Row:
    return {"ms": median(times), "least": min(times), "most": max(times), "laps": len(times)}


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _said(failure: Exception) -> str:
    if is_out_of_memory(failure):
        return _NO_MEMORY
    return f"{type(failure).__name__}: {str(failure).strip().splitlines()[0] if str(failure).strip() else ''}"


def fits(needed: float) -> None:
    """Raise MemoryError if the GPU has not so many bytes free."""
    if device() == "cuda" and needed > torch.cuda.mem_get_info()[0]:
        raise MemoryError


def free() -> None:
    gc.collect()
    if device() == "cuda":
        torch.cuda.empty_cache()


def run(shapes: Sequence[Shape], budget: float, peers: Path | None, results: Path) -> int:
    """Measure shape after shape until `budget` seconds are over; the exit code is 1 if a call of ours failed.

    What does not fit into memory has not failed: it is said and has no row.
    """
    began, absent, rows, sound = time.monotonic(), kernel_peers.missing(peers), list[Row](), True
    print(f"{record.machine()}, {device()}")
    for name, why in absent.items():
        print(f"{name}: missing: {why}")
    for number, shape in enumerate(shapes):
        if time.monotonic() - began > budget:
            print(f"{shape}: not measured: {budget:.0f} s are over")
            continue
        found, ended, fine = _until(of_shape(shape, absent, first=number == 0), began + budget + _GRACE)
        free()
        print(f"\n{shape}\n{shown(found)}{ended}", flush=True)
        found, sound = [row for row in found if row.get("failed") != _NO_MEMORY], sound and fine
        rows += found
        if found:
            print(f"added to {record.append('kernels', found, PACKAGES, results)}")
    print("\n".join(["", *goals(rows), f"{time.monotonic() - began:.0f} s"]))
    failed = any("failed" in row and row["who"] == OURS for row in rows)
    return 0 if rows and sound and not failed else 1


def _until(rows: Iterator[Row], end: float) -> tuple[list[Row], str, bool]:
    """The rows that come before `end`, why there are not all of them, and whether that is no failure."""
    found: list[Row] = []
    try:
        for row in rows:
            found.append(row)
            if time.monotonic() > end:
                return found, "\nended early: the time is over", True
    except Exception as failure:  # of inputs that do not fit, mostly; the rows so far are kept whatever it is
        return found, f"\nended early: {_said(failure)}", is_out_of_memory(failure)
    return found, "", True


def main(arguments: Sequence[str] | None = None) -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true", help="a tiny shape: does it run?")
    p.add_argument(
        "--budget", type=float, default=420.0, metavar="SECONDS", help="no shape is begun after these"
    )
    p.add_argument("--shapes", type=int, metavar="N", help="only the first N shapes")
    p.add_argument(
        "--peers", type=Path, default=kernel_peers.folder(), metavar="FOLDER", help="the peers' packages"
    )
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
    shapes = (
        kernel_case.QUICK if options.quick else kernel_case.CUDA if device() == "cuda" else kernel_case.CPU
    )
    return run(shapes[: options.shapes], options.budget, options.peers, options.results)


if __name__ == "__main__":
    sys.exit(main())
