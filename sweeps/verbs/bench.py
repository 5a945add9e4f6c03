"""`saescale bench NAME`: runs a benchmark of this checkout, as `python -m benchmarks.NAME` does."""

import argparse
import subprocess
import sys
from pathlib import Path

from sweeps.errors import SweepError
from sweeps.verbs.arguments import SweepVerb

ROOT = Path(__file__).parents[2]


def names() -> list[str]:
    """The modules and folders of benchmarks/ that can be run, as fit, laws.coverage and kernels.

    Empty in an installed package, which lacks the folder.
    """
    folder = ROOT / "benchmarks"
    whole = [path.parent for path in folder.glob("*/__main__.py")]
    modules = [path for path in (*folder.glob("*.py"), *folder.glob("*/*.py")) if path.parent not in whole]
    runnable = [path.with_suffix("") for path in modules if "__main__" in path.read_text("utf-8")]
    return sorted(".".join(path.relative_to(folder).parts) for path in (*runnable, *whole))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare NAME, and pass everything after it to the benchmark."""
    known = names()
    listed = ", ".join(known) or "none here: benchmarks/ is in the repository only"
    parser.add_argument("name", metavar="NAME", choices=known or None, help=f"a benchmark: {listed}")
    parser.add_argument(
        "options", nargs=argparse.REMAINDER, metavar="OPTIONS", help="passed on; NAME --help explains them"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the benchmark from the checkout's root and return its exit code."""
    if not names():
        raise SweepError("benchmarks/ is in the repository only: clone it and install from there.")
    command = [sys.executable, "-m", f"benchmarks.{arguments.name}", *arguments.options]
    return subprocess.call(command, cwd=ROOT)


main = SweepVerb(
    "bench",
    add_arguments,
    run,
    "Measure this code beside its peers: runs a benchmark of this checkout.",
    examples="""
    saescale bench fit
    saescale bench kernels --help
    """,
    failure="the benchmark failed, or there is no checkout",
)

if __name__ == "__main__":
    raise SystemExit(main())
