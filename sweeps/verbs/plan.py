"""Show the plan of a study. `saescale plan study=demo`"""

import shlex
from collections.abc import Sequence

from sweeps.dispatch import phases, submit
from sweeps.planning import table
from sweeps.planning.plan import make_plan
from sweeps.verbs.command import verb


@verb("plan", flags=["--dry-run"])
def main(overrides: Sequence[str], dry_run: bool) -> int:
    """Show the runs of a study, what is done, and what the rest costs; start nothing.

    saescale plan study=demo
    saescale plan study=demo sae.n_latents=256,512,1024 sae.k=8,16 'train.lr=geom(1e-4,1.6e-3,2)'
    saescale plan study=demo 'grid.where=["n_latents >= 64 * k"]'
    saescale plan study=demo '++grid.derive.train.lr="2e-3 * sqrt(1024 / n_latents)"'
    saescale plan study=demo launcher=slurm budget.gpu_hours=60
    saescale plan study=demo_lr,demo_tuned                    (phases in order, each and overall)
    saescale plan study=demo launcher=slurm --dry-run         (prints the script that sbatch would get)

    Exit code 1 where it costs more than budget.gpu_hours allows.
    """
    plans = [make_plan(mine) for mine in phases.split(overrides)]
    if dry_run:
        print("\n".join(map(submit.script, plans)))
        return 0
    for number, plan in enumerate(plans, 1):
        if len(plans) > 1:
            print(f"phase {number} of {len(plans)}")
        table.show(plan)
    if len(plans) > 1:
        print(table.overall(plans))
    for plan in plans:
        plan.check_budget()
    if any(plan.todo for plan in plans):
        print(f"Launch with: saescale launch {shlex.join(overrides)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
