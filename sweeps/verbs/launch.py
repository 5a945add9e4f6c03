"""Launch a study: write its run folders, start workers for what is missing. `saescale launch study=demo --wait`"""

from collections.abc import Sequence

from sweeps.dispatch.launch import launch, relauncher, unfinished
from sweeps.dispatch.submit import script
from sweeps.planning.plan import Plan, make_plan
from sweeps.planning.table import summary
from sweeps.verbs.command import verb
from sweeps.verbs.progress import follow


@verb("launch", flags=["--wait", "--dry-run"])
def main(overrides: Sequence[str], wait_for_end: bool, dry_run: bool) -> int:
    """Train what is missing of a study. Returns at once; with --wait it follows to the end.

    saescale launch study=demo --wait
    saescale launch study=demo launcher.workers=4 launcher.runs_per_pack=8
    saescale launch study=demo launcher=slurm launcher.slurm.partition=gpu
    saescale launch study=demo launcher=slurm --dry-run      (prints the script that sbatch would get)
    saescale launch study=demo launcher=debug                (in this process)
    saescale launch study=demo_lr,demo_tuned --wait          (phases in order: the second uses what the first found)

    The same command again trains only what is missing. With --wait what died and may be tried again is launched again;
    exit code: 0 every run has a result (a diverged run is one), 1 some have none. Ctrl-C: local workers save and stop,
    jobs on SLURM go on; the same command follows them again.
    """
    from sweeps.dispatch import phases  # it imports scipy, 0.5 s

    lists = phases.split(overrides)
    if dry_run:
        print("\n".join(script(make_plan(mine)) for mine in lists))
        return 0
    for number, mine in enumerate(lists, 1):
        if len(lists) > 1:
            print(f"phase {number} of {len(lists)}")
        plan = make_plan(mine)
        code = start(plan, wait_for_end)
        if code or number == len(lists):
            return code
        if not phases.finished(plan):
            print("The next phase needs its results: the same command again when they are there, or --wait.")
            return 0
        print(f"wrote {phases.close(plan)}")
    return 0


def start(plan: Plan, wait_for_end: bool = False) -> int:
    """Launch, say what was started, follow it if asked to; the exit code of the verb."""
    print(summary(plan))
    plan.check_ready()
    plan.check_budget()
    try:
        launched = launch(plan)
        started = launched.local or launched.slurm
        if started and not wait_for_end:
            where = "workers started" if launched.local else f"jobs submitted ({_shown(launched.slurm)})"
            print(f"{len(started)} {where}, logs in {launched.folder}.")
            print(f"Follow with: saescale status {plan.study.path}")
            return 0
        if wait_for_end and plan.launcher.kind != "debug":
            follow(plan, relauncher(plan, launched))
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on.")
        return 130
    return report(plan, wait_for_end or plan.launcher.kind == "debug")


def _shown(ids: Sequence[str]) -> str:
    arrays = list(dict.fromkeys(one.partition("_")[0] for one in ids))
    return f"{'array' if len(ids) > 1 else 'job'} {', '.join(arrays)}"


def report(plan: Plan, ended: bool) -> int:
    """Say how the study stands; the exit code: 1 if it was to have ended and some run has no result."""
    lines = unfinished(plan)
    for line in lines[:10]:
        print(line)
    if lines:
        print(f"{len(lines)} of {len(plan.runs)} runs have no result. Logs: {plan.study.jobs}")
        if not ended:
            print("Nothing was started: they are in jobs already, or wait for saescale retry.")
        return int(ended)
    print(f"All {len(plan.runs)} runs of {plan.study.name} have their result in {plan.study.path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
