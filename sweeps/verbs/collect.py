"""Rebuild the tables of a study. `saescale collect runs/demo`"""

from collections.abc import Sequence

import pandas as pd

from sweeps.dispatch.reconcile import settle
from sweeps.errors import SweepError
from sweeps.ledger.tables import write_tables
from sweeps.verbs.command import verb
from sweeps.verbs.locate import find_study


@verb("collect", "STUDY")
def main(arguments: Sequence[str]) -> int:
    """Rebuild runs.parquet and curves.parquet of a study from its folders, at any time, from partial results too.

    saescale collect runs/demo
    saescale collect study=demo
    """
    study = find_study(arguments)
    try:
        settle(study)
    except SweepError as error:
        print(f"SLURM: {error}; from the folders alone.")
    paths = write_tables(study)
    states = pd.read_parquet(paths[0], columns=["state"]).state.value_counts()
    print(
        f"{study.name}: {states.sum()} runs ("
        + ", ".join(f"{c} {s}" for s, c in states.sort_index().items())
        + ")"
    )
    for path in paths:
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
