"""`saescale bench NAME`: runs a benchmark of this checkout, as `python -m benchmarks.NAME` does."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def names() -> list[str]:
    """The modules and folders of benchmarks/ that can be run; none in an installed package, which has no such folder."""
    folder = ROOT / "benchmarks"
    modules = [path.stem for path in folder.glob("*.py") if "__main__" in path.read_text("utf-8")]
    return sorted([*modules, *(path.parent.name for path in folder.glob("*/__main__.py"))])


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it from the checkout's root and returns its exit code; 2 for a name that there is not."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    known = names()
    if not known:
        print(
            "saescale bench: benchmarks/ is in the repository only: clone it and install from there.",
            file=sys.stderr,
        )
        return 2
    if given and given[0] in known:
        return subprocess.call([sys.executable, "-m", f"benchmarks.{given[0]}", *given[1:]], cwd=ROOT)
    usage = (
        f"usage: saescale bench NAME [options]\n\nNAME is one of {', '.join(known)}; NAME --help explains it."
    )
    if given and given[0] in ("-h", "--help"):
        print(usage)
        return 0
    wrong = f"saescale bench: there is no benchmark {given[0]!r}.\n" if given else ""
    print(f"{wrong}{usage}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
