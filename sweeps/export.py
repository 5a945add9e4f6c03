"""Trained runs in the layouts of other tools. `saescale export runs/demo/3f2a9c01b7de --format saelens --out DIR`"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sae_core.errors import CheckpointError, DataError
from sae_core.export import canonical
from sae_core.export.about import About, ExportError
from sae_core.export.formats import FORMATS, export, refusal, refuse_taken, target
from sae_core.manifest import read_manifest
from sae_core.model import SAE
from sweeps.errors import SweepError
from sweeps.ledger import RunFolder, open_study

EXAMPLES = """formats, what opens them, and what below DIR:
  saelens              SAE.load_from_disk(DIR)                  topk, batchtopk (as jumprelu), relu, jumprelu, gated
  sparsify             SparseCoder.load_from_disk(DIR/layers.L)  topk
  dictionary_learning  load_dictionary(DIR/trainer_0, "cpu")     all; SAEBench reads topk of unit rows
  openai               DIR/autoencoder.pt                       topk, relu
  all                  each of them that can hold the run, in DIR/FORMAT

A study's runs go to DIR/RUN_ID. Inputs are not prepared by the export: docs/export.md.

examples:
  saescale export runs/demo/3f2a9c01b7de --format saelens --out /tmp/sae
  saescale export runs/demo --format all --out /tmp/saes --layer 14 --model HuggingFaceTB/SmolLM2-135M
"""
_UNIT = 1e-5  # SAEBench refuses a float32 decoder whose rows are further from norm 1


def parser() -> argparse.ArgumentParser:
    """The options of `saescale export`."""
    p = argparse.ArgumentParser(
        prog="saescale export",
        description="Write finished runs in the layouts that other tools open.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("path", type=Path, metavar="RUN|STUDY", help="a run's folder, or a study's: its done runs")
    p.add_argument("--format", required=True, choices=(*FORMATS, "all"))
    p.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="what is there is never overwritten"
    )
    p.add_argument(
        "--weights",
        default="best",
        choices=("best", "live", "ema"),
        help="live, averaged, or whichever had the lower NMSE at the end (default: best)",
    )
    p.add_argument("--model", metavar="NAME", help="the language model (default: the one harvested)")
    p.add_argument(
        "--layer", type=int, metavar="L", help="its block, from 0 (default: the harvest's layer − 1)"
    )
    p.add_argument("--hook", metavar="NAME", help="module of the block, as mlp (default: as harvested)")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Exports; 0 all well, 1 with a sentence why not, 2 for wrong usage."""
    try:
        given = parser().parse_args(sys.argv[1:] if arguments is None else arguments)
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        return _export(given)
    except (SweepError, DataError, CheckpointError, ExportError) as error:
        print(f"saescale export: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"saescale export: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        return 1


def _export(given: argparse.Namespace) -> int:
    """All is checked before the first folder is written."""
    if given.layer is not None and given.layer < 0:
        raise SweepError(f"--layer is {given.layer}; blocks are counted from 0.")
    one = (given.path / "config.yaml").is_file()
    folders = [RunFolder(given.path)] if one else _done(given.path)
    ready = [(*trained(folder, given), given.out if one else given.out / folder.run_id) for folder in folders]
    plans = [(sae, about, *_plan(sae, about, given.format, out)) for sae, about, out in ready]
    for _, about, wanted, _ in plans:
        for name, out in wanted:
            refuse_taken(target(name, out, about))
    for sae, about, wanted, left_out in plans:
        for name, out in wanted:
            print(f"{about.run_id}: {about.weights} weights as {name} in {export(name, sae, about, out)}")
        for why in left_out:
            print(f"{about.run_id}: left out: {why}")
    _say_notes([(sae, about) for sae, about, _, _ in plans], given.format)
    return 0


def _done(path: Path) -> list[RunFolder]:
    study = open_study(path)
    done = [folder for folder in study.runs() if folder.status().state == "done"]
    if not done:
        raise SweepError(f"{path} has no run that is done; see saescale status {path}.")
    return done


def trained(folder: RunFolder, given: argparse.Namespace) -> tuple[SAE, About]:
    """A run's SAE with the weights asked for, and what is known of it. SweepError if it has not ended."""
    config, weights = folder.config(), folder.checkpoints / "weights.safetensors"
    if not weights.is_file():
        state = folder.status().state
        raise SweepError(f"{folder.path} is {state} and has no {weights.name}: a run has them when it ends.")
    which = best(folder.curve()) if given.weights == "best" else given.weights
    sae, run = canonical.of_run(weights, which)
    about = replace(_about(config["data"]), weights=which, run_id=folder.run_id, run=run.as_dict())
    named = {key: getattr(given, key) for key in ("model", "layer", "hook")}
    return sae, replace(about, **{key: value for key, value in named.items() if value is not None})


def best(curve: Sequence[dict[str, Any]]) -> str:
    """Whichever of "live" and "ema" had the lower NMSE in the last evaluation; SweepError where neither had one."""
    row = curve[-1] if curve else {}
    nmse = {which: row.get(f"nmse_{which}") for which in ("live", "ema")}
    known = {which: value for which, value in nmse.items() if value is not None}
    if not known:
        raise SweepError("The run's curve ends without an NMSE to choose by: give --weights live or ema.")
    return min(known, key=known.__getitem__)  # live where they are equal


def _about(data: dict[str, Any]) -> About:
    """The place and the preparation of the run's data, as far as its config and its store still tell."""
    harvest, store = data.get("harvest") or {}, data.get("store")
    prepare = "none" if data.get("synthetic") else harvest.get("prepare")
    if store and Path(store).is_dir():
        manifest = read_manifest(Path(store))
        prepare, harvest = manifest.prepare, harvest or manifest.about
    layer = harvest.get("layer")
    return About(
        model=harvest.get("model"),
        layer=layer - 1 if isinstance(layer, int) else None,
        hook=harvest.get("hook"),
        prepare=prepare,
        dataset=harvest.get("text"),
        context=harvest.get("context"),
    )


def _plan(sae: SAE, about: About, asked: str, out: Path) -> tuple[list[tuple[str, Path]], list[str]]:
    """The layouts to write with where, and why others are left out. ExportError where the one asked for cannot be."""
    if asked != "all":
        why = refusal(asked, sae.config.activation, about)
        if why:
            raise ExportError(f"{about.run_id}: {why}")
        return [(asked, out)], []
    reasons = {name: refusal(name, sae.config.activation, about) for name in FORMATS}
    return [(name, out / name) for name, why in reasons.items() if not why], [
        f"{why}" for why in reasons.values() if why
    ]


def _say_notes(exported: Sequence[tuple[SAE, About]], asked: str) -> None:
    """What a user of the export has to know, once."""
    for how in sorted({about.preparation for _, about in exported}):
        print(f"Inputs to prepare before encoding, not folded into the weights: {how}.")
    if asked in ("all", "openai") and any(sae.config.activation == "topk" for sae, _ in exported):
        print("openai: set `normalize = False` once loaded: that tool turns on a LayerNorm for every TopK.")
    if asked in ("all", "dictionary_learning"):
        for sae, about in exported:
            off = float((sae.W_dec.detach().norm(dim=1) - 1).abs().max())
            if off > _UNIT:
                print(
                    f"{about.run_id}: decoder rows of the {about.weights} weights are up to {off:.1e} off unit norm; "
                    "SAEBench takes 1e-5: --weights live has unit rows."
                )


if __name__ == "__main__":
    raise SystemExit(main())
