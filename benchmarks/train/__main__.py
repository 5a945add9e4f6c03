"""Tokens per second of a training step and of a pack of runs, compared with trainers on PyPI. `make bench-train`

The unit is tokens per CPU-second in one thread; on CUDA it is tokens per second of the device, between events of its
stream. The contenders take turns for several rounds, each in its own process, on the same rows, d, n, k and batch; the
results are medians over all laps. Ours is a whole step: gradients, projection, Adam, unit norm, weight average and
counters. The peers train with their own trainer classes, with AuxK off. A pack counts the tokens of all its runs. Peers
also step their SAEs one after another, so a peer's step stands for its pack. A peer that is not installed is printed as
missing and has no row.
"""

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.train.case import CPU, CUDA, QUICK, Case, Shape, device, write_rows
from benchmarks.train.contenders import PEERS, PEERS_PYTHON, in_its_own_process, measure, merged, missing

PACKAGES = ("saescale", "torch", "numpy")
# Our tokens per second over each peer's, on a CPU, must be at least these.
GOALS = {"eai-sparsify": 1.4, "sae-lens": 2.8, "dictionary-learning": 4.0}
_MOST_AUXK, _LEAST_FROM_DISK = 1.03, 0.95


def contenders(shape: Shape, laps: int, absent: Mapping[str, str]) -> list[tuple[str, Case]]:
    """The contenders and their SAEs: full width in packs of up to 4, and the small width in packs of up to 16."""
    full, small = (Case(shape.d, n, shape.k, shape.batch_tokens, laps) for n in (shape.n, shape.n_small))
    there = [name for name in PEERS if name not in absent]
    ours = [
        *(("ours:" + task, full) for task in ("step", "pack1", "pack4", "store")),
        *(("ours:" + task, small) for task in ("pack1", "pack4", "pack8", "pack16")),
    ]
    return [*ours, *((name, case) for case in (full, small) for name in there)]


def compare(
    shape: Shape, rounds: int, laps: int, python: Path, absent: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The rows of all contenders, measured in turn, `rounds` times."""
    entered = contenders(shape, laps, absent)
    found: list[list[list[dict[str, Any]] | str]] = [[] for _ in entered]
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            write_rows(shape, Path(folder))
            for results, (name, case) in zip(found, entered, strict=True):
                results.append(in_its_own_process(name, case, Path(folder), python))
        print(f"round {number + 1} of {rounds} done", file=sys.stderr, flush=True)
    return [
        row
        for results, (name, case) in zip(found, entered, strict=True)
        for row in merged(name, case, results)
    ]


def ratio(
    rows: Sequence[Mapping[str, Any]], peer: str, n: int, task: str = "step", runs: int = 1
) -> float | None:
    """Our tokens per second divided by the peer's at n latents; None if either was not measured."""
    ours = _speed(rows, "ours", n, task, runs)
    theirs = _speed(rows, peer, n, "step", 1)
    return None if ours is None or theirs is None else ours / theirs


def _speed(rows: Sequence[Mapping[str, Any]], who: str, n: int, task: str, runs: int) -> float | None:
    asked = {"contender": who, "n": n, "task": task, "runs": runs}
    chosen = (row for row in rows if all(row.get(key) == value for key, value in asked.items()))
    return next((row["tokens_per_second"] for row in chosen), None)


def as_table(rows: Sequence[Mapping[str, Any]], absent: Mapping[str, str]) -> str:
    """Format the rows as a table with our ratio to each peer, followed by the missing peers."""
    unit = "CPU s" if device() == "cpu" else "GPU s"
    lines = [
        f"{'contender':<20} {'task':<26}{'n':>8}{'runs':>5}{unit:>9}{'least':>9}{'most':>9}{'tokens/s':>10}"
    ]
    for row in rows:
        if "failed" in row:
            lines.append(f"{row['contender']:<20} n = {row['n']}: failed: {row['failed']}")
            continue
        times = "".join(f"{row[name]:9.4f}" for name in ("seconds", "least", "most"))
        lines.append(
            f"{row['contender']:<20} {row['task']:<26}{row['n']:>8}{row['runs']:>5}{times}"
            f"{row['tokens_per_second']:>10,.0f}{_beside(rows, row)}"
        )
    return "\n".join([*lines, *(f"{name}: missing: {why}" for name, why in absent.items())])


def _beside(rows: Sequence[Mapping[str, Any]], row: Mapping[str, Any]) -> str:
    """The ratios of one of our rows to the peers' rows and to our other rows."""
    if row["contender"] != "ours":
        return ""
    found = {peer: ratio(rows, peer, row["n"], row["task"], row["runs"]) for peer in PEERS}
    parts = [f"{value:.2f} × {peer}" for peer, value in found.items() if value is not None]
    if "over_off" in row:
        parts.append(f"{row['over_off']:.3f} × the time without AuxK")
    if "over_memory" in row:
        share = 1 / row["over_memory"]
        parts.append(f"{share:.1%} of the speed from memory, {row['wait_share']:.2%} of the time waiting")
    return "  " + ", ".join(parts) if parts else ""


def goals(rows: Sequence[Mapping[str, Any]], shape: Shape) -> list[str]:
    """One line per goal for which there are measurements: the goal and the measured value."""
    lines = []
    for peer, least in GOALS.items() if device() == "cpu" else ():
        value = ratio(rows, peer, shape.n)
        if value is not None:
            lines.append(f"≥ {least} × {peer}: {value:.2f}, {_met(value >= least)}")
    for row in rows:
        if "over_off" in row:
            over = row["over_off"]
            lines.append(f"AuxK, none dead, ≤ {_MOST_AUXK} × off: {over:.3f}, {_met(over <= _MOST_AUXK)}")
        if "over_memory" in row:
            share = min(1 / row["over_memory"], 1 - row["wait_share"])
            lines.append(
                f"≥ {_LEAST_FROM_DISK:.0%} of the step's speed from a store: {share:.1%}, "
                f"{_met(share >= _LEAST_FROM_DISK)}"
            )
    return lines


def _met(yes: bool) -> str:
    return "met" if yes else "missed"


def main(arguments: Sequence[str] | None = None) -> int:
    p = record.parser("train", __doc__)
    p.add_argument("--rounds", type=int, default=3, help="processes of each contender, in turn")
    p.add_argument("--laps", type=int, default=5, help="steps timed in each process")
    p.add_argument("--quick", action="store_true", help="tiny shapes, one round: does it run?")
    p.add_argument(
        "--peers", type=Path, default=PEERS_PYTHON, metavar="PYTHON", help="the peers' interpreter"
    )
    p.add_argument("--results", type=Path, default=record.RESULTS, help="where the rows go")
    p.add_argument("--contender", help=argparse.SUPPRESS)
    p.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    p.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = p.parse_args(arguments)
    if options.contender:
        with contextlib.redirect_stdout(sys.stderr):
            measured = measure(options.contender, Case(**options.case), options.folder)
        print(json.dumps(measured))
        return 0
    shape = QUICK if options.quick else CUDA if device() == "cuda" else CPU
    rounds, laps = (1, 2) if options.quick else (options.rounds, options.laps)
    absent = missing(options.peers)
    rows = compare(shape, rounds, laps, options.peers, absent)
    print(f"d = {shape.d}, k = {shape.k}, batch of {shape.batch_tokens} tokens, {record.machine()}")
    print(as_table(rows, absent))
    if not options.quick:
        print("\n".join(goals(rows, shape)))
    print(f"added to {record.append('train', rows, PACKAGES, options.results)}")
    return 1 if any("failed" in row for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
