"""CPU seconds of the verbs that only look: `status` of 21 runs, and the plan of 10,290. `saescale bench cli`

Each is measured in a process of its own, with its imports. `--against COMMIT` measures that commit too, in the same
sitting on the same machine, from a worktree of this checkout that is removed again, and gives the ratio.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import record

ROOT = Path(__file__).parents[1]
RUNS, SEEDS = 21, 490  # 7 sizes × 3 k of study=demo, and these times 490 seeds
MOST_STATUS_S, MOST_PLAN_RATIO = 1.0, 0.3
# The overrides only make the runs cheap to write; nothing is trained.
WRITE = """
import sys
from sweeps.dispatch.launch import write_runs
from sweeps.planning.plan import make_plan
write_runs(make_plan(["study=demo", f"runs={sys.argv[1]}"]))
"""
# What was there before is measured without what is common to both: a first plan, which imports and composes.
PLAN = """
import sys, time
from sweeps.planning.phased import make_plans
make_plans(["study=demo", f"runs={sys.argv[1]}"])
start = time.process_time()
(plan,) = make_plans(["study=demo", f"runs={sys.argv[1]}", f"seed=range(0,{sys.argv[2]})"])
print(len(plan.runs), time.process_time() - start)
"""


def status_s(checkout: Path, runs: Path) -> float:
    """CPU seconds of `saescale status` in a fresh process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _python(checkout, "-m", "sweeps.verbs.cli", "status", str(runs / "demo"))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def plan_s(checkout: Path, runs: Path, seeds: int) -> tuple[int, float]:
    """How many runs a plan has, and the CPU seconds that it takes after imports."""
    count, seconds = _python(checkout, "-c", PLAN, str(runs / "none"), str(seeds)).split()
    return int(count), float(seconds)


def _python(checkout: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=checkout, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{checkout}: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout


def measure(checkout: Path, runs: Path, seeds: int, rounds: int) -> dict[str, Any]:
    """The medians over the rounds of both times."""
    plans = [plan_s(checkout, runs, seeds) for _ in range(rounds)]
    status = median(status_s(checkout, runs) for _ in range(rounds))
    return {
        "status_cpu_s": status,
        "plan_cpu_s": median(seconds for _, seconds in plans),
        "plan_runs": plans[0][0],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and append a row to results/ unless told otherwise. Returns 1 if a goal is missed."""
    parser = argparse.ArgumentParser(
        prog="saescale bench cli", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--against", metavar="COMMIT", help="measure this commit too")
    parser.add_argument(
        "--seeds", type=int, default=SEEDS, metavar="N", help="of the plan (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--no-record", action="store_true", help="write no row")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        runs, other = Path(folder) / "runs", Path(folder) / "other"
        _python(ROOT, "-c", WRITE, str(runs))
        rows: list[dict[str, Any]] = [
            {"of": "this checkout", **measure(ROOT, runs, given.seeds, given.rounds)}
        ]
        if given.against:
            _git("worktree", "add", "--quiet", "--detach", str(other), given.against)
            try:
                rows.append({"of": given.against, **measure(other, runs, given.seeds, given.rounds)})
            finally:
                _git("worktree", "remove", "--force", str(other))
    for row in rows:
        print(json.dumps(row))
    ours = rows[0]
    met = ours["status_cpu_s"] <= MOST_STATUS_S
    print(f"status of {RUNS} runs: {ours['status_cpu_s']:.2f} CPU s (goal {MOST_STATUS_S:g})")
    if given.against:
        ratio = ours["plan_cpu_s"] / rows[1]["plan_cpu_s"]
        met = met and ratio <= MOST_PLAN_RATIO
        print(
            f"plan of {ours['plan_runs']:,} runs: {ratio:.2f} of {given.against} (goal {MOST_PLAN_RATIO:g})"
        )
    if not given.no_record:
        print(f"wrote {record.append('cli', rows, ('saescale', 'hydra-core', 'pandas'))}")
    return 0 if met else 1


def _git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=ROOT, check=True)


if __name__ == "__main__":
    raise SystemExit(main())
