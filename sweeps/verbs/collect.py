"""Rebuild the tables of a study. `saescale collect runs/demo`"""

import argparse

from sweeps.verbs.arguments import SweepVerb, add_study, find_study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare STUDY."""
    add_study(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the tables and print what they contain."""
    import pandas as pd

    from sweeps.dispatch.reconcile import settle
    from sweeps.errors import SweepError
    from sweeps.ledger.tables import write_tables

    study = find_study(arguments.study)
    try:
        settle(study)
    except SweepError as error:
        print(f"SLURM: {error}; from the folders alone.")
    paths = write_tables(study)
    states = pd.read_parquet(paths[0], columns=["state"]).state.value_counts().sort_index()
    print(f"{study.name}: {states.sum()} runs ({', '.join(f'{count} {s}' for s, count in states.items())})")
    for path in paths:
        print(f"wrote {path}")
    return 0


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
