"""Fill activation stores from a language model or an array, and verify them. `saescale harvest data=smollm2`"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sweeps.verbs.arguments import SweepVerb, add_overrides, prints_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare OVERRIDES, --verify and --inspect."""
    add_overrides(parser)
    parser.add_argument(
        "--verify",
        action="store_true",
        help="read every shard of the store and compare its checksum; write nothing",
    )
    parser.add_argument(
        "--inspect",
        metavar="STORE",
        help="print the splits, norms, spectrum and equal rows of the store in this folder; write nothing",
    )


@prints_config
def run(arguments: argparse.Namespace) -> int:
    """Fill or verify the stores that the overrides name, or inspect one."""
    if arguments.inspect:
        from sweeps.dispatch.inspection import inspect

        print(inspect(Path(arguments.inspect)).text())
        return 0
    from sweeps.dispatch.harvest import described, harvest, verify

    if arguments.verify:
        for path in verify(arguments.overrides, _progress):
            print(f"all checksums agree with the manifest in {path}")
        return 0
    for path in harvest(arguments.overrides, _progress):
        print(f"wrote {described(path)}")
    return 0


@contextmanager
def _progress(unit: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal, and print a line every tenth of the way elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console()
    columns = (
        BarColumn(30),
        TextColumn(f"{{task.completed:,}}/{{task.total:,}} {unit}"),
        TimeElapsedColumn(),
    )
    printed = -1
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1, visible=False)

        def progress(done: int, total: int) -> None:
            nonlocal printed
            bar.update(task, completed=done, total=total, visible=True)
            if not console.is_terminal and 10 * done // total > printed:
                printed = 10 * done // total
                print(f"{done / total:4.0%}  {done:,} of {total:,} {unit}", flush=True)

        yield progress


main = SweepVerb(
    "harvest",
    add_arguments,
    run,
    "Write activations into a sharded, checksummed store: those of a language model run over text, or those of a file.",
    examples="""
    saescale harvest data=smollm2
    saescale harvest data=smollm2 data.harvest.layer=5,10,15     (a store per layer, in one pass of the model)
    saescale harvest data=array data.array.path=acts.npy data.store=stores/acts
    saescale harvest --verify data=smollm2
    saescale harvest --inspect stores/acts
    """,
    notes="The same command again resumes where the last one stopped, and does nothing if the store is complete.",
    interrupted="interrupted; the same command goes on where it stopped.",
)

if __name__ == "__main__":
    raise SystemExit(main())
