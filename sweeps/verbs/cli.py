"""The `saescale` command: one verb a step of the way from a config to figures."""

import importlib
import sys
from collections.abc import Sequence

# verb: (module with main(arguments) -> exit code, what it does). Imported when called: `saescale fit` needs no torch.
VERBS = {
    "harvest": ("sweeps.verbs.harvest", "write a language model's activations into a store"),
    "plan": ("sweeps.verbs.plan", "show the runs of a study and their cost"),
    "launch": ("sweeps.verbs.launch", "train what is missing of a study"),
    "status": ("sweeps.verbs.status", "show how its runs stand"),
    "cancel": ("sweeps.verbs.cancel", "cancel runs of it"),
    "retry": ("sweeps.verbs.retry", "let failed and cancelled runs of it be tried again"),
    "collect": ("sweeps.verbs.collect", "rebuild the tables: runs.parquet, curves.parquet, latents.parquet"),
    "fit": ("fit.views.verbs.fit", "fit L(N), L(C), L(N, K) to a table"),
    "figures": ("fit.views.verbs.figures", "draw the figures of a table and its fits"),
    "report": ("sweeps.verbs.report", "write one page about a study: laws, figures, warnings, cost, runs"),
    "export": ("sweeps.verbs.export", "write runs in the layouts that other tools open: SAELens, sparsify …"),
    "bench": ("sweeps.verbs.bench", "measure this code beside its peers"),
}


def usage() -> str:
    verbs = "\n".join(f"  {name:9s}{text}" for name, (_, text) in VERBS.items())
    return (
        "usage: saescale VERB [arguments]\n\n"
        "Scaling laws of sparse autoencoders, from a grid in a Hydra config to fitted laws and figures.\n\n"
        f"{verbs}\n\n"
        "saescale VERB --help explains a verb. The whole way:\n"
        "  saescale plan study=demo && saescale launch study=demo --wait && saescale collect study=demo\n"
        "  saescale fit runs/demo/runs.parquet && saescale figures runs/demo/runs.parquet"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(usage())
        return 0 if given else 2
    verb, *rest = given
    if verb not in VERBS:
        print(f"saescale: {verb!r} is not a verb; there are: {', '.join(VERBS)}.", file=sys.stderr)
        return 2
    return importlib.import_module(VERBS[verb][0]).main(rest)


if __name__ == "__main__":
    raise SystemExit(main())
