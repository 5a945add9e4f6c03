"""Export runs to the layouts of other tools. `saescale export runs/demo/3f2a9c01b7de --format saelens --out DIR`"""

import argparse
import sys
from dataclasses import fields
from pathlib import Path

from sae_core.errors import CheckpointError
from sae_core.export.about import FORMAT_NAMES, ExportError
from sweeps.verbs.arguments import SweepVerb


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare RUN|STUDY and the options of an export."""
    add = parser.add_argument
    add("path", type=Path, metavar="RUN|STUDY", help="a run's folder, or a study's, for its done runs")
    add(
        "--format",
        required=True,
        choices=(*FORMAT_NAMES, "all"),
        metavar="FORMAT",
        help=f"layout: {', '.join(FORMAT_NAMES)} or all, see below",
    )
    add(
        "--out", required=True, type=Path, metavar="DIR", help="folder to write; nothing in it is overwritten"
    )
    add(
        "--weights",
        default="best",
        choices=("best", "live", "ema"),
        help="live, averaged, or whichever had the lower NMSE at the end (default: best)",
    )
    add("--model", metavar="NAME", help="the language model (default: the one harvested)")
    add("--layer", type=int, metavar="L", help="its block, from 0 (default: the harvest's layer − 1)")
    add(
        "--site",
        metavar="SITE",
        help="resid_post, mlp_out … or a module of the block (default: as harvested)",
    )
    add("--hook", metavar="NAME", help="the older name of --site for a module of the block, as mlp")
    add(
        "--module",
        metavar="PATH",
        help="module whose output was read, as layers.3.mlp (default: as harvested)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Export the runs one by one; a run of a study that cannot be exported does not stop the others."""
    from sweeps.dispatch.export import Request, is_run, planned, usage_notes

    request = Request(**{field.name: getattr(arguments, field.name) for field in fields(Request)})
    exports = planned(request)
    failed = 0
    for one in exports:
        try:
            print("\n".join(one.write()))
        except (CheckpointError, ExportError) as error:
            print(f"saescale export: {error}", file=sys.stderr)
            failed += 1
    for note in usage_notes(exports):
        print(note)
    if failed and not is_run(request.path):
        print(f"saescale export: {failed} of {len(exports)} runs could not be exported.", file=sys.stderr)
    return 1 if failed else 0


main = SweepVerb(
    "export",
    add_arguments,
    run,
    "Write finished runs in the layouts that other tools open.",
    examples="""
    saescale export runs/demo/3f2a9c01b7de --format saelens --out /tmp/sae
    saescale export runs/demo --format all --out /tmp/saes --layer 14 --model HuggingFaceTB/SmolLM2-135M
    """,
    notes="""
formats, what opens them, and the activations that they hold:
  saelens              SAE.load_from_disk(DIR)                   topk, batchtopk (as jumprelu), relu, jumprelu, gated
  sparsify             SparseCoder.load_from_disk(DIR/MODULE)    topk
  dictionary_learning  load_dictionary(DIR/trainer_0, "cpu")     all; SAEBench reads topk of unit rows
  openai               DIR/autoencoder.pt                        topk, relu
  all                  each of them that can hold the run, in DIR/FORMAT

A study's runs go to DIR/RUN_ID. Inputs are not prepared by the export: docs/guide/export.md.
""",
    failure="a run could not be exported; a sentence says why",
)

if __name__ == "__main__":
    raise SystemExit(main())
