"""Rebuild the tables of a study. `saescale collect runs/demo`"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.verbs.arguments import SweepVerb, add_study, find_study

if TYPE_CHECKING:
    from sweeps.ledger.run_folder import Study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare STUDY."""
    add_study(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the tables and print what they contain."""
    import pandas as pd

    study = find_study(arguments.study)
    paths = rebuild(study)
    states = pd.read_parquet(paths[0], columns=["state"]).state.value_counts().sort_index()
    print(f"{study.name}: {states.sum()} runs ({', '.join(f'{count} {s}' for s, count in states.items())})")
    for path in paths:
        print(f"wrote {path}")
    return 0


def rebuild(study: "Study", say: Callable[[str], None] = print) -> list[Path]:
    """Write the tables of a study, after its folders have been brought up to date with SLURM. Returns the paths.

    say: called with a sentence where SLURM does not answer.
    """
    from sweeps.dispatch.reconcile import settle
    from sweeps.errors import SweepError
    from sweeps.ledger.tables import write_tables

    try:
        settle(study)
    except SweepError as error:
        say(f"SLURM: {error}; from the folders alone.")
    return write_tables(study)


main = SweepVerb(
    "collect",
    add_arguments,
    run,
    "Rebuild runs.parquet, curves.parquet and latents.parquet of a study from its folders, at any time, from partial "
    "results too.",
    examples="""
    saescale collect runs/demo
    saescale collect study=demo
    """,
)

if __name__ == "__main__":
    raise SystemExit(main())
