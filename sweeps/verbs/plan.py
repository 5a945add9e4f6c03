"""Show the plan of a study. `saescale plan study=demo`"""

import argparse
import json
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fit.views.verbs.waiting import Waiting
from sweeps.verbs.arguments import SweepVerb, add_overrides, prints_config

if TYPE_CHECKING:
    from sweeps.planning.design.propose import Wanted
    from sweeps.planning.plan import Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare OVERRIDES and --dry-run."""
    add_overrides(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the script that sbatch would get")
    parser.add_argument(
        "--json", action="store_true", help="print JSON: each phase with its cost and its runs"
    )


@prints_config
def run(arguments: argparse.Namespace) -> int:
    """Print the plan of each phase, then raise an error if one costs more than its budget."""
    from sweeps.config.phases import steps
    from sweeps.dispatch import submit
    from sweeps.planning import phase_table, table
    from sweeps.planning.design.propose import wanted
    from sweeps.planning.phased import make_plans

    composed = steps(arguments.overrides)[0].composed
    want = None if composed is None else wanted(composed)  # a bad target is refused before any work
    with Waiting("planning", arguments.quiet):
        plans = make_plans(arguments.overrides)
    if want is not None:
        return _design(plans, want, arguments.json)
    if arguments.dry_run:
        print("\n".join(map(submit.script, plans)))
        return 0
    if arguments.json:
        print(json.dumps([_content(plan) for plan in plans], indent=1, ensure_ascii=False))
        _check_budget(plans)
        return 0
    for number, plan in enumerate(plans, 1):
        if len(plans) > 1:
            print(phase_table.heading(plan, number, len(plans)))
        table.show(plan)
        if plan.phase is not None:
            print("\n".join(phase_table.lines(plan)), end="\n" if phase_table.lines(plan) else "")
    if len(plans) > 1:
        phase_table.show(plans)
    _check_budget(plans)
    if any(plan.todo for plan in plans):
        print(f"Launch with: saescale launch {shlex.join(arguments.overrides)}")
    return 0


def _check_budget(plans: "Sequence[Plan]") -> None:
    for plan in plans:
        plan.check_budget()
        if (
            plan.phase is not None and plan.todo
        ):  # the next phase is checked when this one has shown what it costs
            break


def _content(plan: "Plan") -> dict[str, Any]:
    """A plan as plain data; hours are None where the throughput is not known."""
    from sweeps.planning.table import run_rows

    return {
        "study": plan.study.name,
        "path": str(plan.study.path),
        "phase": plan.phase,
        "runs": len(plan.runs),
        "to_train": len(plan.todo),
        "flops_sparse_to_train": sum(run.flops_sparse for run in plan.todo),
        "flops_dense_to_train": sum(run.flops_dense for run in plan.todo),
        "worker_hours_to_train": plan.hours(plan.todo),
        "jobs": len(plan.jobs),
        "guessed": sorted(plan.grid.waiting),
        "to_harvest": plan.absent,
        "of_runs": run_rows(plan),
    }


def _design(plans: "Sequence[Plan]", want: "Wanted", as_json: bool) -> int:
    """Print which cells are best trained next, of the first phase that has any left."""
    from sweeps.planning.design import table
    from sweeps.planning.design.propose import propose

    plan = next((one for one in plans if one.todo), plans[-1])
    proposal = propose(plan, want)
    if as_json:
        print(json.dumps(table.content(proposal), indent=1, ensure_ascii=False, default=str))
    else:
        table.show(proposal)
    return 0


main = SweepVerb(
    "plan",
    add_arguments,
    run,
    "Show the runs of a study, which are done, and what the rest costs. Starts nothing.",
    examples="""
    saescale plan study=demo
    saescale plan study=demo sae.n_latents=256,512,1024 sae.k=8,16 'train.lr=geom(1e-4,1.6e-3,2)'
    saescale plan study=demo 'grid.where=["n_latents >= 64 * k"]'
    saescale plan study=demo '++grid.derive.train.lr="2e-3 * sqrt(1024 / n_latents)"'
    saescale plan study=demo launcher=slurm budget.gpu_hours=60
    saescale plan study=demo_phases                        (phases in order, each and overall)
    saescale plan study=demo,batch_size                    (studies in order)
    saescale plan study=demo design=true design.target=alpha        (which cells to train next)
    saescale plan study=demo design=true 'design.target=L(n_latents=4096,k=8)' design.budget=0.1
    saescale plan study=demo launcher=slurm --dry-run
    saescale plan study=demo --json
    """,
    failure="the study cannot be planned, or costs more than budget.gpu_hours allows",
)

if __name__ == "__main__":
    raise SystemExit(main())
