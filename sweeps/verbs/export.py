"""Trained runs in the layouts of other tools. `saescale export runs/demo/3f2a9c01b7de --format saelens --out DIR`"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sae_core.config import RunConfig, SAEConfig
from sae_core.data.harvest_config import HarvestConfig
from sae_core.data.manifest import Manifest, read_manifest
from sae_core.errors import CheckpointError, DataError
from sae_core.export import canonical
from sae_core.export.about import About, ExportError
from sae_core.export.formats import FORMATS, export, refusal, refuse_taken, target
from sweeps.errors import SweepError
from sweeps.ledger.run_folder import RunFolder, open_study

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
    except KeyboardInterrupt:
        print("saescale export: interrupted.", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"saescale export: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        return 1


def _export(given: argparse.Namespace) -> int:
    """Everything that configs, curves and folders tell is checked before the first folder is written."""
    if given.layer is not None and given.layer < 0:
        raise SweepError(f"--layer is {given.layer}; blocks are counted from 0.")
    one = RunFolder(given.path).exists
    folders = [RunFolder(given.path)] if one else _done(given.path)
    jobs = [_plan(folder, given, given.out if one else given.out / folder.run_id) for folder in folders]
    failed = [job.run_id for job in jobs if not _write(job)]
    _say_notes(jobs)
    if failed and not one:
        print(f"saescale export: {len(failed)} of {len(jobs)} runs could not be exported.", file=sys.stderr)
    return 1 if failed else 0


def _done(path: Path) -> list[RunFolder]:
    study = open_study(path)
    done = [folder for folder in study.runs() if folder.status().state == "done"]
    if not done:
        raise SweepError(f"{path} has no run that is done; see saescale status {path}.")
    return done


@dataclass(frozen=True)
class _Job:
    """One run's exports, checked; its tensors are read when they are written, one run at a time."""

    weights: Path
    sae: SAEConfig
    about: About
    wanted: list[tuple[str, Path]]  # layouts, and the folders to write them in
    left_out: list[str]  # why

    @property
    def run_id(self) -> str:
        return str(self.about.run_id)


def _plan(folder: RunFolder, given: argparse.Namespace, out: Path) -> _Job:
    """What is to be written of a run. SweepError if it has not ended, ExportError where a layout cannot hold it."""
    config, weights = folder.config(), folder.weights_path
    if not weights.is_file():
        raise SweepError(
            f"{folder.path} is {folder.status().state} and has no {weights.name}: a run has them when it ends."
        )
    which = best(folder.curve()) if given.weights == "best" else given.weights
    run = RunConfig.from_dict(config["run"])
    named = {
        key: getattr(given, key) for key in ("model", "layer", "hook") if getattr(given, key) is not None
    }
    about = describe(config["data"], run.data.fingerprint)
    about = replace(about, weights=which, run_id=folder.run_id, run=run.as_dict(), **named)
    asked = tuple(FORMATS) if given.format == "all" else (given.format,)
    refusals = {name: refusal(name, run.sae.activation, about) for name in asked}
    wanted = [(name, out / name if given.format == "all" else out) for name in asked if not refusals[name]]
    left_out = [why for why in refusals.values() if why]
    if not wanted:
        raise ExportError(f"{folder.run_id}: {' '.join(left_out)}")
    for name, place in wanted:
        refuse_taken(target(name, place, about))
    return _Job(weights, run.sae, about, wanted, left_out)


def _write(job: _Job) -> bool:
    """Write a run's exports and say where; a run whose weights cannot be read or written is told, and False."""
    try:
        sae, _ = canonical.of_run(job.weights, job.about.weights)
        for name, out in job.wanted:
            print(
                f"{job.run_id}: {job.about.weights} weights as {name} in {export(name, sae, job.about, out)}"
            )
    except (CheckpointError, ExportError) as error:
        print(f"saescale export: {error}", file=sys.stderr)
        return False
    for why in job.left_out:
        print(f"{job.run_id}: left out: {why}")
    off = float((sae.W_dec.detach().norm(dim=1) - 1).abs().max())
    if (
        job.sae.activation == "topk"
        and off > _UNIT
        and any(n == "dictionary_learning" for n, _ in job.wanted)
    ):
        print(
            f"{job.run_id}: rows of the {job.about.weights} decoder are up to {off:.1e} off unit norm, and SAEBench "
            "refuses more than 1e-5: the live weights have unit rows."
        )
    return True


def best(curve: Sequence[dict[str, Any]]) -> str:
    """Whichever of "live" and "ema" had the lower NMSE in the last evaluation; SweepError where neither had one."""
    row = curve[-1] if curve else {}
    nmse = {which: row.get(f"nmse_{which}") for which in ("live", "ema")}
    known = {which: value for which, value in nmse.items() if value is not None}
    if not known:
        raise SweepError("The run's curve ends without an NMSE to choose by: give --weights live or ema.")
    return min(known, key=known.__getitem__)  # live where they are equal


def describe(data: dict[str, Any], fingerprint: str) -> About:
    """The place and the preparation of a run's data: its store tells, or else its config; None where neither does."""
    harvest = data.get("harvest") or {}
    prepare = "none" if data.get("synthetic") else None
    if harvest:
        prepare = harvest.get("prepare", HarvestConfig.prepare)
    store = _manifest(data.get("store"), fingerprint)
    if store:
        harvest, prepare = store.config, store.prepare
    layer = harvest.get("layer")
    return About(
        model=harvest.get("model"),
        layer=layer - 1 if isinstance(layer, int) else None,
        hook=harvest.get("hook"),
        prepare=prepare,
        dataset=harvest.get("text"),
        context=harvest.get("context"),
    )


def _manifest(store: str | None, fingerprint: str) -> Manifest | None:
    """None where the store is gone, or is not any more the one that the run was trained on."""
    try:
        manifest = read_manifest(Path(store)) if store else None
    except (DataError, OSError):
        return None
    return manifest if manifest and manifest.fingerprint == fingerprint else None


def _say_notes(jobs: Sequence[_Job]) -> None:
    """What a user of the exports has to know, once."""
    for how in sorted({job.about.preparation for job in jobs}):
        print(f"Inputs to prepare before encoding, not folded into the weights: {how}.")
    if any(job.about.model is None or job.about.layer is None for job in jobs):
        print(
            "The model or its layer is not known, which SAEBench and hooks ask for: give --model and --layer."
        )
    if any(job.sae.activation == "topk" and name == "openai" for job in jobs for name, _ in job.wanted):
        print("openai: set `normalize = False` once loaded: that tool turns on a LayerNorm for every TopK.")


if __name__ == "__main__":
    raise SystemExit(main())
