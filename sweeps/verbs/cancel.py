"""Cancel runs of a study. `saescale cancel runs/demo`"""

import argparse

from sweeps.verbs.arguments import SweepVerb, add_study, runs_named


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare STUDY, the arguments that choose runs of it, and --not-in-grid."""
    add_study(parser, runs=True)
    parser.add_argument(
        "--not-in-grid",
        action="store_true",
        help="cancel the runs that are no longer in the grid of these overrides",
    )


def run(arguments: argparse.Namespace) -> int:
    """Cancel the named runs and print how many there were."""
    from sweeps.dispatch.cancel import cancel

    if arguments.not_in_grid:
        from sweeps.errors import SweepError
        from sweeps.planning.phased import make_plans

        plans = make_plans(arguments.study)
        study = plans[0].study
        if any(plan.study != study for plan in plans):
            raise SweepError("--not-in-grid is about the grid of one study: name one.")
        wanted = {run.run_id for plan in plans for run in plan.runs}
        runs = [folder for folder in study.runs() if folder.run_id not in wanted]
    else:
        study, runs = runs_named(arguments.study)
    cancelled = cancel(study, runs)
    others = len(runs) - len(cancelled)
    print(f"{study.path}: {len(cancelled)} runs cancelled, {others} had ended or were already.")
    return 0


main = SweepVerb(
    "cancel",
    add_arguments,
    run,
    "Cancel runs of a study: waiting runs never start, running ones are saved and stopped.",
    examples="""
    saescale cancel runs/demo                              (all that have no result)
    saescale cancel runs/demo 'where=n_latents > 4096'     (names: the columns of runs.parquet)
    saescale cancel runs/demo 3f2a9c01b7de                 (these runs)
    saescale cancel study=demo sae.k=8,16 --not-in-grid
    """,
    notes="Cancelled runs stay cancelled when the study is launched again; saescale retry revives them.",
)

if __name__ == "__main__":
    raise SystemExit(main())
