"""Prints a plan: one row per size of run with its cost, and the jobs that would train the runs."""

from collections import Counter
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sae_core.training import checkpoint
from sweeps.ledger.run_folder import ENDED
from sweeps.planning import cost
from sweeps.planning.plan import Plan
from sweeps.planning.runs import PlannedRun

COLUMNS = (
    "n_latents",
    "k",
    "runs",
    "to train",
    "tokens/run",
    "batch",
    "lr",
    "FLOPs (sparse)",
    "FLOPs (dense)",
)


def show(plan: Plan) -> None:
    """Print the plan."""
    print(summary(plan))
    if not plan.todo:
        print("\n".join([*finished(plan), *duplicates(plan), *states(plan)]))
        return
    console = Console(width=None if Console().is_terminal else 150)
    console.print(table(plan))
    for line in (
        *duplicates(plan),
        *branches(plan),
        *kept_states(plan),
        *guesses(plan),
        *data_absent(plan),
        *jobs(plan),
        *states(plan),
    ):
        print(line)


def finished(plan: Plan) -> list[str]:
    """Lines about a plan whose runs all have their result: what they took, of how much at most."""
    folders = [plan.study.run(run.run_id) for run in plan.runs]
    tokens = sum(folder.status().tokens for folder in folders)
    most = sum(run.config.train.budget for run in plan.runs)
    hours = sum(map(cost.seconds_spent, folders)) / 3600
    unit = "GPU-h" if plan.launcher.device == "cuda" else "CPU-h"
    took = f"{tokens:,} of at most {most:,} tokens, {hours:.2g} {unit} of training"
    return [
        f"finished: every run has its result; it took {took}",
        f"Next: saescale collect {plan.study.path}",
    ]


def guesses(plan: Plan) -> list[str]:
    """A line that names the laws which are replaced by a guess until an earlier phase has been fitted."""
    waiting = ", ".join(sorted(plan.grid.waiting))
    return [f"guessed until it is fitted: {waiting}"] if waiting else []


def data_absent(plan: Plan) -> list[str]:
    """Lines that say which activations are still to be harvested, and how much disk they take."""
    return [f"to be harvested first: {absent}" for absent in plan.absent]


def summary(plan: Plan) -> str:
    """One line: the factors of the grid, and how many runs are done and left."""
    zipped = {key for group in plan.grid.zips for key in group}
    blocks = [*plan.grid.zips, *([key] for key in plan.grid.axes if key not in zipped)]
    names = [
        (len(plan.grid.axes[block[0]]), " with ".join(key.split(".")[-1] for key in block))
        for block in blocks
    ]
    factors = " × ".join(f"{count} {name}" for count, name in names)
    done = len(plan.runs) - len(plan.todo)
    notes = [f"= {factors}"] if factors else []
    if plan.grid.dropped:
        notes.append(f"less {plan.grid.dropped} left out by where")
    size = f"{len(plan.runs)} run{'s' * (len(plan.runs) != 1)} {', '.join(notes)}".strip()
    return f"{plan.title}: {size}; {done} already done, {len(plan.todo)} to train"


def table(plan: Plan) -> Table:
    """One row per n_latents and k: tokens, cost and memory; the derived values are in the caption."""
    shown = Table(box=None, header_style="bold")
    hours = "GPU-h" if plan.launcher.device == "cuda" else "CPU-h"
    for column in (*COLUMNS, hours, "memory/run"):
        shown.add_column(column, justify="right")
    groups: dict[tuple[int, int], list[PlannedRun]] = {}
    for run in plan.runs:
        groups.setdefault((run.config.sae.n_latents, run.config.sae.k or 0), []).append(run)
    for (n, k), runs in sorted(groups.items()):
        shown.add_row(f"{n:,}", str(k or "–"), *_row(plan, runs))
    shown.add_section()
    total = _row(plan, plan.runs)
    shown.add_row("total", "", *total[:2], "", "", "", *total[5:-1], "")
    if plan.grid.derived:
        rules = "; ".join(f"{key} = {text}" for key, text in plan.grid.derived.items())
        shown.caption, shown.caption_justify = (
            Text(f"derived: {rules}"),
            "left",
        )  # Text, because rich would read brackets as markup
    return shown


def _row(plan: Plan, runs: list[PlannedRun]) -> list[str]:
    left = [run for run in runs if plan.states.get(run.run_id) not in ENDED]
    hours = plan.hours(left)
    return [
        str(len(runs)),
        str(len(left)),
        _span([run.config.train.max_tokens for run in runs], ",d"),
        _span([run.config.train.batch_tokens for run in runs], ",d"),
        _span([run.config.train.lr for run in runs], ".2e"),
        f"{sum(run.flops_sparse for run in left):.1e}",
        f"{sum(run.flops_dense for run in left):.1e}",
        "–" if hours is None else f"{hours:.2f}",
        size_text(max(cost.state_bytes(run.config) for run in runs)),
    ]


def run_rows(plan: Plan) -> list[dict[str, Any]]:
    """A row per run for a DataFrame: its id, state, size, every key that is varied or derived, tokens and FLOPs."""
    return [
        {
            "run_id": run.run_id,
            **({} if plan.phase is None else {"phase": plan.phase}),
            "state": plan.states.get(run.run_id, "not launched"),
            "n_latents": run.config.sae.n_latents,
            "k": run.config.sae.k,
            **{key.rpartition(".")[2]: value for key, value in run.varied.items()},
            "tokens": run.config.train.budget,
            "flops_sparse": run.flops_sparse,
            "flops_dense": run.flops_dense,
        }
        for run in plan.runs
    ]


def _span(values: list[Any], form: str) -> str:
    low, high = min(values), max(values)
    return f"{low:{form}}" if low == high else f"{low:{form}} … {high:{form}}"


def duplicates(plan: Plan) -> list[str]:
    """A line that counts the cells which describe the same run as another cell."""
    spare = len(plan.grid.cells) - len(plan.runs)
    return (
        [f"{spare} cells describe a run that another cell describes too: each is trained once."]
        if spare
        else []
    )


def branches(plan: Plan) -> list[str]:
    """A line that counts the runs that branch off others of their pack, and the tokens that this saves."""
    budgets = {run.run_id: run.config.train.budget for run in plan.todo}
    saved = {run_id: round(budgets[run_id] * (1 - share)) for run_id, share in plan.trained_shares.items()}
    saved = {run_id: tokens - _at_start(plan, run_id) for run_id, tokens in saved.items()}
    count = sum(tokens > 0 for tokens in saved.values())
    if not count:
        return []
    return [
        f"{count} runs branch off another run of their pack where their lr or budget first differs: "
        f"{sum(saved.values()):.2e} of {sum(budgets.values()):.2e} tokens are trained by that other run, and the hours "
        "are without them."
    ]


def _at_start(plan: Plan, run_id: str) -> int:
    """The tokens of the kept state that a run goes on from, 0 without."""
    start = plan.starts.get(run_id)
    return 0 if start is None else start.tokens


def kept_states(plan: Plan) -> list[str]:
    """Lines on the runs that branch off ended runs, and on those that could if states had been kept, and their cost."""
    lines = []
    if plan.starts:
        tokens = sum(start.tokens for start in plan.starts.values())
        off = len({start.run_id for start in plan.starts.values()})
        lines.append(
            f"{_runs(len(plan.starts), 'branches', 'branch')} off the kept states of "
            f"{off} ended run{'s' * (off != 1)}: {tokens:.2e} tokens are not trained again."
        )
    again: dict[str, int] = {}
    for run in plan.todo:
        if checkpoint.newest(plan.study.run(run.run_id).checkpoints):
            continue
        # Of the runs that share a trunk in a pack, one is trained on it.
        own = round(plan.trained_shares[run.run_id] * run.config.train.budget)
        decay = run.config.train.budget - run.config.train.constant_tokens
        again[run.run_id] = min(plan.ended_runs.repeated(run.config), own - decay)
    again = {run_id: tokens for run_id, tokens in again.items() if tokens > 0}
    if again:
        rate, hours = plan.throughput, ""
        if rate is not None:
            shares = [(run, again.get(run.run_id, 0) / run.config.train.budget) for run in plan.todo]
            spent = sum(share * (cost.seconds(run.config, rate) or 0.0) for run, share in shares)
            hours = f" and {spent / 3600:.2g} h"
        lines.append(
            f"{_runs(len(again), 'trains', 'train')} again on what an ended run was trained on, whose state there was "
            f"not kept: {sum(again.values()):.2e} tokens{hours}. A launch with "
            "launcher.keep_state=true keeps the last states of runs with a constant lr."
        )
    return lines


def _runs(count: int, one: str, several: str) -> str:
    """`1 run branches`, `2 runs branch`."""
    return f"1 run {one}" if count == 1 else f"{count} runs {several}"


def jobs(plan: Plan) -> list[str]:
    """Lines with the number of jobs, their length, memory and disk, and the assumed throughput."""
    if not plan.todo:
        return []
    launcher, planned = plan.launcher, plan.jobs
    largest = max(job.memory(launcher) for job in planned)
    packs = max(len(pack) for job in planned for pack in job.packs(launcher))
    if launcher.kind == "slurm":
        each = _span([len(job.runs) for job in planned], "d")
        who = f"{len(planned)} jobs in an array, {launcher.workers} at once, of {each} runs each"
    else:
        who = f"{min(launcher.workers, len(plan.todo))} workers share {len(plan.todo)} runs"
    lines = [f"{who}; packs of up to {packs} take up to {size_text(largest)} of memory"]
    lines += [_longest(plan), _disk(plan)]
    allowed = plan.grid.gpu_hours
    if allowed is not None and (hours := plan.hours(plan.todo)) is not None:
        lines.append(f"budget: {hours:.2f} of {allowed:g} h{', fits' if hours <= allowed else ', TOO MUCH'}")
    return lines


def _longest(plan: Plan) -> str:
    limit = plan.launcher.timeout_min / 60
    if plan.throughput is None:
        return "hours: unknown until a run has ended here, or launcher.flops_per_s is set"
    rate = plan.throughput.text
    hours = max(job.seconds or 0.0 for job in plan.jobs) / 3600
    again = "" if hours <= limit else f": it goes back into the queue {int(hours / limit)} times"
    return f"longest job: {hours:.2f} h of {limit:.3g} h allowed{again} ({rate})"


def _disk(plan: Plan) -> str:
    """The disk space needed while every job trains its largest pack, and after all runs have ended."""
    at_once = sorted((cost.disk_bytes(run.config)[0] for run in plan.todo), reverse=True)
    most = plan.launcher.workers * plan.launcher.runs_per_pack
    kept = sum(cost.disk_bytes(run.config, plan.launcher.keep_state)[1] for run in plan.runs)
    on_the_way = size_text(sum(at_once[:most]))
    what = "of weights and states" if plan.launcher.keep_state else "of weights"
    return f"disk: {size_text(kept)} {what} in the end, up to {on_the_way} of checkpoints on the way"


def size_text(size: float) -> str:
    """Bytes for a reader, as 3.6 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if size >= 100 or unit == "B" else f"{size:.1f} {unit}"


def states(plan: Plan) -> list[str]:
    counts = Counter(plan.states.get(run.run_id, "not launched") for run in plan.runs)
    return ["state: " + ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))]
