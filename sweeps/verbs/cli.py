"""The `saescale` command, with one verb for each step from a config to figures."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from fit.data.near_names import did_you_mean
from fit.views.verbs.command import DONE, USAGE, Parser, UsageError, Verb, guarded

# verb: (module with a `main` of type Verb, description). Modules are imported when called, so `saescale fit` needs no
# torch.
VERBS = {
    "harvest": ("sweeps.verbs.harvest", "write a language model's activations into a store"),
    "plan": ("sweeps.verbs.plan", "show the runs of a study and their cost"),
    "launch": ("sweeps.verbs.launch", "train the runs of a study that have no result yet"),
    "status": ("sweeps.verbs.status", "show the state of a study's runs"),
    "watch": ("sweeps.verbs.watch", "keep a page about a study up to date while its runs train"),
    "cancel": ("sweeps.verbs.cancel", "cancel runs of a study"),
    "retry": ("sweeps.verbs.retry", "try failed and cancelled runs again"),
    "collect": ("sweeps.verbs.collect", "rebuild the tables: runs.parquet, curves.parquet, latents.parquet"),
    "fit": ("fit.views.verbs.fit", "fit L(N), L(C), L(N, K) to a table"),
    "predict": ("fit.views.verbs.predict", "say what the fitted laws predict, or which n a loss needs"),
    "compare": ("fit.views.verbs.compare", "say by how much one variant is cheaper than another"),
    "advise": ("fit.views.verbs.advise", "say how to spend a budget: n, tokens, lr and the loss to expect"),
    "figures": ("fit.views.verbs.figures", "draw the figures of a table and its fits"),
    "report": ("sweeps.verbs.report", "write one page about a study: laws, figures, warnings, cost, runs"),
    "export": ("sweeps.verbs.export", "write runs in the layouts that other tools open: SAELens, sparsify …"),
    "bench": ("sweeps.verbs.bench", "measure this code beside its peers"),
    "completion": ("sweeps.verbs.completion", "print the completion script of a shell: bash, zsh or fish"),
}
_EPILOG = """saescale VERB --help explains a verb. From start to finish:
  saescale plan study=demo && saescale launch study=demo --wait && saescale collect study=demo
  saescale fit runs/demo/runs.parquet && saescale figures runs/demo/runs.parquet"""


class _Version(argparse.Action):
    """`--version`. The metadata is read only when asked for, because that takes 0.07 s that no verb needs."""

    def __call__(self, *_: object) -> None:
        from importlib.metadata import version

        print(f"saescale {version('saescale')}")
        raise SystemExit(DONE)


def parser() -> Parser:
    """The parser of `saescale` itself: it reads the verb and leaves everything after it to the parser of the verb."""
    verbs = "\n".join(f"  {name:12s}{text}" for name, (_, text) in VERBS.items())
    root = Parser(
        prog="saescale",
        usage="saescale VERB [arguments] [options]",
        description="Scaling laws of sparse autoencoders, from a grid in a Hydra config to fitted laws and figures.",
        epilog=f"verbs:\n{verbs}\n\n{_EPILOG}",
    )
    root.add_argument("--version", nargs=0, action=_Version, help="show the version")
    root.add_argument("verb", metavar="VERB", help="what to do, see below")
    root.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return root


def named(verb: str) -> Verb:
    """Import and return the verb of this name. Raises UsageError if there is none."""
    if verb not in VERBS:
        raise UsageError(f"{verb!r} is not a verb; there are {', '.join(VERBS)}.{did_you_mean(verb, VERBS)}")
    found: Verb = importlib.import_module(VERBS[verb][0]).main
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb that the arguments name and return its exit code. By default, use the arguments of this process."""
    given = list(sys.argv[1:] if argv is None else argv)
    return guarded("saescale", lambda: _run(given))


def _run(given: list[str]) -> int:
    if not given:
        parser().print_help()
        return USAGE
    arguments = parser().parse(given)
    return named(arguments.verb)(arguments.rest)


if __name__ == "__main__":
    raise SystemExit(main())
