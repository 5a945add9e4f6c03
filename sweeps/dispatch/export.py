"""Writes the SAEs of finished runs in the formats of other tools."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sae_core.config import RunConfig, SAEConfig
from sae_core.data.configs import HarvestConfig
from sae_core.data.disk.manifest import Manifest, read_manifest
from sae_core.data.names import Named
from sae_core.errors import DataError
from sae_core.export import canonical
from sae_core.export.about import About, ExportError
from sae_core.export.formats import FORMATS, export, refusal, refuse_taken, target
from sweeps.errors import SweepError
from sweeps.ledger.run_folder import RunFolder, open_study

_UNIT = 1e-5  # SAEBench refuses a float32 decoder if a row's norm differs from 1 by more


@dataclass(frozen=True)
class Request:
    """The request for an export.

    path: the folder of a run, or of a study, whose finished runs are exported. format: a name in FORMATS, or "all".
    out: the folder to write; a study's runs go to out/RUN_ID. weights: best, live or ema. model, layer, site, module:
    replace what the run's data has recorded; hook is the older name of site.
    """

    path: Path
    format: str
    out: Path
    weights: str = "best"
    model: str | None = None
    layer: int | None = None
    hook: str | None = None
    site: str | None = None
    module: str | None = None


@dataclass(frozen=True)
class RunExport:
    """The checked exports of one run. Its tensors are read only in `write`, so that one run at a time is in memory."""

    weights: Path
    sae: SAEConfig
    about: About
    wanted: list[tuple[str, Path]]  # formats, and the folders to write them to
    left_out: list[str]  # a reason for each format that cannot hold the run
    live_threshold: bool = False  # batchtopk: the averaged weights were saved without a θ of their own

    @property
    def run_id(self) -> str:
        return str(self.about.run_id)

    def write(self) -> list[str]:
        """Write the exports and return lines to print. Raises CheckpointError or ExportError if that is impossible."""
        sae, _ = canonical.of_run(self.weights, self.about.weights)
        notes = [
            f"{self.run_id}: {self.about.weights} weights as {name} in {export(name, sae, self.about, out)}"
            for name, out in self.wanted
        ]
        notes += [f"{self.run_id}: left out: {why}" for why in self.left_out]
        if self.live_threshold:
            notes.append(
                f"{self.run_id}: the averaged weights are exported with the θ of the live weights, as they were "
                "evaluated: the run is from before θ was set for both. --weights live has a θ that fits."
            )
        off = float((sae.W_dec.detach().norm(dim=1) - 1).abs().max())
        layouts = [name for name, _ in self.wanted]
        if self.sae.activation == "topk" and off > _UNIT and "dictionary_learning" in layouts:
            notes.append(
                f"{self.run_id}: rows of the {self.about.weights} decoder are up to {off:.1e} off unit norm, and "
                "SAEBench refuses more than 1e-5: the live weights have unit rows."
            )
        return notes


def planned(request: Request) -> list[RunExport]:
    """Check all configs, curves and folders before the first folder is written."""
    if request.layer is not None and request.layer < 0:
        raise SweepError(f"--layer is {request.layer}; blocks are counted from 0.")
    if request.hook and request.site:
        raise SweepError(
            f"--hook is {request.hook} and --site {request.site}: --hook is its older name, give --site."
        )
    if request.module and not all(
        part.isidentifier() or part.isdecimal() for part in request.module.split(".")
    ):
        raise SweepError(f"--module is {request.module!r}; it must be the path of a module, as layers.3.mlp.")
    if is_run(request.path):
        return [_plan_run(RunFolder(request.path), request, request.out)]
    return [_plan_run(folder, request, request.out / folder.run_id) for folder in _done(request.path)]


def is_run(path: Path) -> bool:
    """Whether a path is the folder of a run rather than of a study."""
    return RunFolder(path).exists


def _done(path: Path) -> list[RunFolder]:
    study = open_study(path)
    done = [folder for folder in study.runs() if folder.status().state == "done"]
    if not done:
        raise SweepError(f"{path} has no run that is done; see saescale status {path}.")
    return done


def _plan_run(folder: RunFolder, request: Request, out: Path) -> RunExport:
    """The exports of one run. Raises SweepError if it has not ended, ExportError if no format can hold it."""
    config, weights = folder.config(), folder.weights_path
    if not weights.is_file():
        raise SweepError(
            f"{folder.path} is {folder.status().state} and has no {weights.name}: a run has them when it ends."
        )
    curve = folder.curve()
    which = best(curve) if request.weights == "best" else request.weights
    run = RunConfig.from_dict(config["run"])
    about = replaced(describe(config["data"], run.data.fingerprint), request)
    about = replace(about, weights=which, run_id=folder.run_id, run=run.as_dict())
    everything = request.format == "all"
    layouts = tuple(FORMATS) if everything else (request.format,)
    refusals = {name: refusal(name, run.sae.activation, about) for name in layouts}
    wanted = [(name, out / name if everything else out) for name in layouts if not refusals[name]]
    left_out = [why for why in refusals.values() if why]
    if not wanted:
        raise ExportError(f"{folder.run_id}: {' '.join(left_out)}")
    for name, path in wanted:
        refuse_taken(target(name, path, about))
    own_threshold = which == "live" or bool(curve and curve[-1].get("threshold_ema") is not None)
    live_threshold = run.sae.activation == "batchtopk" and not own_threshold
    return RunExport(weights, run.sae, about, wanted, left_out, live_threshold)


def best(curve: Sequence[dict[str, Any]]) -> str:
    """The one of "live" and "ema" with the lower NMSE in the last evaluation. Raises SweepError if neither has one."""
    row = curve[-1] if curve else {}
    nmse = {which: row.get(f"nmse_{which}") for which in ("live", "ema")}
    known = {which: value for which, value in nmse.items() if value is not None}
    if not known:
        raise SweepError("The run's curve ends without an NMSE to choose by: give --weights live or ema.")
    return min(known, key=known.__getitem__)  # live where they are equal


def replaced(about: About, request: Request) -> About:
    """With what the user gives. Names that were found for the recorded place are not those of another one."""
    layer = about.layer if request.layer is None else request.layer
    site = request.site or request.hook or about.site
    names = dict(about.names) if (layer, site) == (about.layer, about.site) else {}
    if request.module:
        names["sparsify"] = Named(request.module)
    return replace(about, model=request.model or about.model, layer=layer, site=site, names=names)


def describe(data: dict[str, Any], fingerprint: str) -> About:
    """Model, layer, site and preparation of a run's data, from the store's manifest or, failing that, its config."""
    harvest = data.get("harvest") or {}
    prepare = "none" if data.get("synthetic") else None
    if harvest:
        prepare = harvest.get("prepare", HarvestConfig.prepare)
    store = _manifest(data.get("store"), fingerprint)
    if store:
        harvest, prepare = store.config, store.prepare
    layer = harvest.get("layer")
    site = harvest.get("hook") or harvest.get("site") or HarvestConfig.site
    return About(
        model=harvest.get("model"),
        layer=max(layer - 1, 0) if isinstance(layer, int) else None,
        site="resid_pre" if layer == 0 else site,
        names=_names(store.about) if store else {},
        prepare=prepare,
        dataset=harvest.get("text"),
        context=harvest.get("context"),
    )


def _names(about: dict[str, Any]) -> dict[str, Named]:
    """What other tools call the rows of a store, from its manifest."""
    if site := about.get("site"):
        return {tool: Named(name, site["unnamed"].get(tool)) for tool, name in site["names"].items()}
    # Before there were sites, the manifest had a sentence that begins with the module's path; in an encoder-decoder,
    # whose class is not called a model, the path began at the encoder.
    old = re.match(r"output of (\S+)\[(\d+)\](\.\S+)?, ", str(about.get("hook")))
    if old and str(about.get("model")).endswith("Model"):
        return {"sparsify": Named(f"{old[1]}.{old[2]}{old[3] or ''}")}
    return {}


def _manifest(store: str | None, fingerprint: str) -> Manifest | None:
    """The store's manifest; None if the store was removed, or is not the one that the run was trained on."""
    try:
        manifest = read_manifest(Path(store)) if store else None
    except (DataError, OSError):
        return None
    return manifest if manifest and manifest.fingerprint == fingerprint else None


def usage_notes(exports: Sequence[RunExport]) -> list[str]:
    """The notes that a user of the exports needs, each sentence once."""
    notes = [
        f"Inputs to prepare before encoding, not folded into the weights: {how}."
        for how in sorted({one.about.preparation for one in exports})
    ]
    if any(one.about.model is None or one.about.layer is None for one in exports):
        notes.append(
            "The model or its layer is not known, which SAEBench and hooks ask for: give --model and --layer."
        )
    for why in sorted(
        {str(one.about.hook.why) for one in exports if one.about.layer is not None and one.about.hook.why}
    ):
        notes.append(f"SAELens' hook_name is left empty: {why}.")
    if any(one.sae.activation == "topk" and name == "openai" for one in exports for name, _ in one.wanted):
        notes.append(
            "openai: set `normalize = False` once loaded: that tool turns on a LayerNorm for every TopK."
        )
    return notes
