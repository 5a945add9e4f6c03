"""Cancel runs: those that wait never start, those that run are saved and left. `saescale cancel runs/demo`"""

from collections.abc import Sequence

from sweeps.dispatch import slurm
from sweeps.dispatch.reconcile import SETTLED
from sweeps.ledger import launches
from sweeps.ledger.claims import claim
from sweeps.ledger.run_folder import ENDED, RunFolder, Status, Study
from sweeps.planning.plan import make_plan
from sweeps.verbs.command import verb
from sweeps.verbs.select import chosen


def cancel(study: Study, runs: Sequence[RunFolder]) -> list[RunFolder]:
    """Ask for the end of these runs, and cancel the SLURM jobs that have nothing else left; returns those it met.

    A worker sees it at its next sign of life, saves the run and goes on with its others. `saescale retry` revives it.
    """
    met = [folder for folder in runs if folder.status().state not in (*ENDED, "cancelled")]
    for folder in met:
        folder.ask_to_cancel()
        ours = claim(folder, lease_s=60)
        if ours is None:  # a worker is at it
            continue
        status = folder.status()
        if status.state not in ENDED:
            folder.set_status(Status("cancelled", status.tokens, message="cancelled by hand"))
        ours.release()
    if slurm.available():
        slurm.cancel(_idle(study))
    return met


def _idle(study: Study) -> list[str]:
    """The living jobs that have no run left to train. One whose worker is saving a run ends by itself."""
    given: dict[str, list[str]] = {}
    for run, job in launches.job_of_each_run(study).items():
        given.setdefault(job, []).append(run)
    idle = [job for job, runs in given.items() if all(study.run(r).status().state in SETTLED for r in runs)]
    return [job for job, state in slurm.states(idle).items() if state.live]


@verb("cancel", "STUDY", flags=["--not-in-grid"])
def main(arguments: Sequence[str], not_in_grid: bool) -> int:
    """Cancel runs of a study: those that wait never start, those that run are saved and left.

    saescale cancel runs/demo                                 (all that have no result)
    saescale cancel runs/demo 'where=n_latents > 4096'        (names: the columns of runs.parquet)
    saescale cancel runs/demo 3f2a9c01b7de                    (these runs)
    saescale cancel study=demo sae.k=8,16 --not-in-grid       (runs that this grid does not have any more)

    They stay cancelled when the study is launched again; saescale retry takes it back.
    """
    if not_in_grid:
        plan = make_plan(arguments)
        wanted = {run.run_id for run in plan.runs}
        study, runs = plan.study, [folder for folder in plan.study.runs() if folder.run_id not in wanted]
    else:
        study, runs = chosen(arguments)
    met = cancel(study, runs)
    print(f"{study.path}: {len(met)} runs cancelled, {len(runs) - len(met)} had ended or were already.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
