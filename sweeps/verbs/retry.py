"""Retry failed and cancelled runs. `saescale retry runs/demo`"""

import argparse
import shlex
from typing import TYPE_CHECKING

from sweeps.verbs.arguments import SweepVerb, add_study, runs_named

if TYPE_CHECKING:
    from sweeps.ledger.run_folder import Study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare STUDY and the arguments that choose runs of it."""
    add_study(parser, runs=True)


def run(arguments: argparse.Namespace) -> int:
    """Set the named runs back to pending and launch the study as it was launched last."""
    from sweeps.dispatch.cancel import retry

    study, runs = runs_named(arguments.study)
    retried = retry(study, runs)
    print(f"{study.path}: {len(retried)} runs will be tried again.")
    return _launch_again(study) if retried else 0


def _launch_again(study: "Study") -> int:
    """Launch with the overrides of the last launch, or print the command if these do not lead back to the study."""
    from sweeps.ledger import launches
    from sweeps.planning.phased import make_plans
    from sweeps.verbs.launch import launch_all

    known = launches.launches(study)
    overrides = known[-1].overrides if known else []
    plans = make_plans(overrides) if known else []
    if study.path.resolve() not in [plan.study.path.resolve() for plan in plans]:
        print(f"Launch with: saescale launch {shlex.join(overrides)}")
        return 0
    return launch_all(overrides)


main = SweepVerb(
    "retry",
    add_arguments,
    run,
    "Try failed and cancelled runs of a study again, from their last checkpoints, as it was last launched.",
    examples="""
    saescale retry runs/demo
    saescale retry runs/demo 'where=k == 32'     (names: the columns of runs.parquet)
    saescale retry runs/demo 3f2a9c01b7de
    """,
    interrupted="interrupted; saescale launch goes on where it stopped.",
)

if __name__ == "__main__":
    raise SystemExit(main())
