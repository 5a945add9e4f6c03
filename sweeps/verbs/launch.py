"""Launch a study: write its run folders, start workers for the missing runs. `saescale launch study=demo --wait`"""

import argparse
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from sweeps.verbs.arguments import SweepVerb, add_overrides, prints_config

if TYPE_CHECKING:
    from sweeps.planning.plan import Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare OVERRIDES, --wait and --dry-run."""
    add_overrides(parser)
    parser.add_argument(
        "--wait",
        action="store_true",
        help="follow the study to its end, and launch again what died and may be tried again",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the script that sbatch would get")


@prints_config
def run(arguments: argparse.Namespace) -> int:
    """Launch the phases in order, each after the previous one has ended."""
    from sweeps.dispatch.submit import script
    from sweeps.planning.design.propose import refuse
    from sweeps.planning.phased import make_plans

    if arguments.dry_run:
        refuse(arguments.overrides)
        print("\n".join(map(script, make_plans(arguments.overrides))))
        return 0
    return launch_all(arguments.overrides, arguments.wait)


def launch_all(overrides: Sequence[str], wait_for_end: bool = False) -> int:
    """Launch every study and phase of a command line, as far as they can be launched now. Returns the exit code."""
    from sweeps.dispatch import phases, planner
    from sweeps.planning.design.propose import refuse

    refuse(overrides)
    # Now, because the checkout may change while a phase trains, and its end must not mix two versions.
    for module in ("fit.study.fitting", "fit.study.study_tables"):
        import_module(module)

    def hand_over(plan: "Plan") -> str:
        if plan.launcher.kind == "slurm":
            return planner.hand_over(overrides, plan)
        return "The next phase needs these results: give the same command again when they are there, or use --wait."

    return phases.advance(overrides, lambda plan: start(plan, wait_for_end), hand_over)


def start(plan: "Plan", wait_for_end: bool = False) -> int:
    """Launch, print what was started, and follow it if asked to. Returns the exit code of the verb."""
    from sweeps.dispatch.launch import launch, relauncher
    from sweeps.dispatch.phases import begin
    from sweeps.planning.table import summary
    from sweeps.verbs.progress import follow

    print(summary(plan))
    begin(plan)
    launched = launch(plan)
    started = launched.local or launched.slurm
    if started and not wait_for_end:
        where = "workers started" if launched.local else f"jobs submitted ({_job_names(launched.slurm)})"
        print(f"{len(started)} {where}, logs in {launched.folder}.")
        print(f"Follow with: saescale status {plan.study.path}")
        return 0
    if wait_for_end and plan.launcher.kind != "debug":
        follow(plan, relauncher(plan, launched))
    return report(plan, wait_for_end or plan.launcher.kind == "debug")


def _job_names(ids: Sequence[str]) -> str:
    arrays = list(dict.fromkeys(one.partition("_")[0] for one in ids))
    return f"{'array' if len(ids) > 1 else 'job'} {', '.join(arrays)}"


def report(plan: "Plan", ended: bool) -> int:
    """Print the runs without a result. Returns the exit code: 1 if the launch has ended and left such runs."""
    from sweeps.dispatch.launch import unfinished

    lines = unfinished(plan)
    for line in lines[:10]:
        print(line)
    if lines:
        print(f"{len(lines)} of {len(plan.runs)} runs have no result. Logs: {plan.study.jobs}")
        if not ended:
            print("Nothing was started: they are in jobs already, or wait for saescale retry.")
        return int(ended)
    print(f"All {len(plan.runs)} runs of {plan.title} have their result in {plan.study.path}")
    return 0


main = SweepVerb(
    "launch",
    add_arguments,
    run,
    "Train the runs of a study that have no result yet. Returns at once; with --wait it follows to the end.",
    examples="""
    saescale launch study=demo --wait
    saescale launch study=demo launcher.workers=4 launcher.runs_per_pack=8
    saescale launch study=demo launcher=slurm launcher.slurm.partition=gpu
    saescale launch study=demo launcher=slurm --dry-run
    saescale launch study=demo launcher=debug              (in this process)
    saescale launch study=demo_phases --wait               (phases in order: the second uses the laws of the first)
    """,
    notes="""
The same command again trains only what is missing. On Ctrl-C local workers save and stop, and jobs on SLURM go on; the
same command follows them again.
""",
    interrupted="interrupted; the same command goes on where it stopped.",
    failure="nothing could be launched, or, with --wait, some run ended without a result (a diverged run has one)",
)

if __name__ == "__main__":
    raise SystemExit(main())
