"""Try again what failed or was cancelled, as if it never had. `saescale retry runs/demo`"""

import shlex
from collections.abc import Sequence

from sweeps.dispatch.reconcile import again
from sweeps.ledger import failures, launches
from sweeps.ledger.claims import claim
from sweeps.ledger.run_folder import RunFolder, Study
from sweeps.planning.plan import make_plan
from sweeps.verbs.command import verb
from sweeps.verbs.launch import start
from sweeps.verbs.select import chosen


def retry(study: Study, runs: Sequence[RunFolder]) -> list[RunFolder]:
    """Set failed and cancelled runs back to pending, their failures forgiven; returns those it met."""
    met = []
    for folder in runs:
        if folder.status().state not in ("failed", "cancelled", "unreadable") and not folder.cancelled:
            continue
        ours = claim(folder, lease_s=60)
        if ours is None:  # a worker is saving it just now
            continue
        folder.withdraw_cancel()
        failures.reset(folder)
        again(study, folder)
        ours.release()
        met.append(folder)
    return met


@verb("retry", "STUDY")
def main(arguments: Sequence[str]) -> int:
    """Try failed and cancelled runs of a study again, from their last checkpoints: it is launched as it was last.

    saescale retry runs/demo
    saescale retry runs/demo 'where=k == 32'          (names: the columns of runs.parquet)
    saescale retry runs/demo 3f2a9c01b7de
    """
    study, runs = chosen(arguments)
    met = retry(study, runs)
    print(f"{study.path}: {len(met)} runs will be tried again.")
    return _launch_again(study) if met else 0


def _launch_again(study: Study) -> int:
    """As it was launched last; the words to type where that cannot be told from here."""
    known = launches.launches(study)
    overrides = known[-1].overrides if known else []
    plan = make_plan(overrides) if known else None
    if plan is None or plan.study.path.resolve() != study.path.resolve():
        print(f"Launch with: saescale launch {shlex.join(overrides)}")
        return 0
    return start(plan)


if __name__ == "__main__":
    raise SystemExit(main())
