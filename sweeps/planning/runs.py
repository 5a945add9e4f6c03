"""The runs of a study: the cells of its grid, checked, each with an id that is a hash of its science config."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from sae_core.config import DataKey, RunConfig, SAEConfig, TrainConfig, validate
from sae_core.errors import ConfigError
from sweeps.config.cells import Cell
from sweeps.config.data import describe
from sweeps.config.grid import Expansion
from sweeps.errors import SweepError
from sweeps.ledger.run_folder import Study
from sweeps.planning import cost

# Increased when a change of the code means that equal configs no longer give equal curves. For batchtopk that is 2: its
# θ was a running mean over batches, with which early evaluations had an L0 down to 40 % of k.
_FORMAT = 1
_FORMATS = {"batchtopk": 2}
# Settings that were added later, with the value at which a run is what it was without them. There they do not count,
# so runs keep their ids.
_ADDED: dict[str, dict[str, Any]] = {
    "train": {
        name: getattr(TrainConfig, name)
        for name in ("target", "decay_share", "warmup_tokens", "warmup_steps")
    },
    "sae": {"parametrization": SAEConfig.parametrization},
}


@dataclass(frozen=True)
class PlannedRun:
    run_id: str
    config: RunConfig
    data: dict[str, Any]  # the resolved data config, for the worker
    varied: dict[str, Any]

    @property
    def flops_sparse(self) -> float:
        return cost.flops_sparse(self.config)

    @property
    def flops_dense(self) -> float:
        return cost.flops_dense(self.config)


def run_id(config: RunConfig) -> str:
    """Hash of the resolved science config. 1e-4 and 0.0001 give the same id; launcher, paths and names do not count."""
    number = _FORMATS.get(config.sae.activation, _FORMAT)
    science = config.as_dict()
    for section, added in _ADDED.items():
        values = science[section]
        science[section] = {k: v for k, v in values.items() if k not in added or v != added[k]}
    text = json.dumps({"format": number, **science}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def planned_runs(grid: Expansion) -> list[PlannedRun]:
    """One run per cell; cells with the same science config share one. Raises SweepError for an impossible cell.

    A run that was launched before computed values were rounded keeps its id and its value: where the study has the
    folder of the unrounded value and none of the rounded one, that run is the cell's.
    """
    study = Study(grid.runs / grid.name)
    there = (
        {folder.run_id for folder in study.runs()} if any(cell.unrounded for cell in grid.cells) else set()
    )
    runs = (_launched(cell, there) for cell in grid.cells)
    unique = {run.run_id: run for run in runs}
    if not unique:
        raise SweepError(f"The grid has no cells: grid.where leaves out all {grid.dropped}.")
    return list(unique.values())


def _launched(cell: Cell, there: set[str]) -> PlannedRun:
    """The run of a cell, or the one with its unrounded values if only that is among the ids of launched runs."""
    run = planned_run(cell)
    if there and cell.unrounded is not None and run.run_id not in there:
        before = planned_run(cell.unrounded())
        if before.run_id in there:
            return before
    return run


def planned_run(cell: Cell) -> PlannedRun:
    """The run of a cell. Raises SweepError for an impossible one."""
    data, facts = cell.config["data"], describe(cell.config["data"])
    config = RunConfig(
        data=DataKey(facts.fingerprint, facts.d_model, data["shuffle_seed"]),
        sae=SAEConfig(**cell.config["sae"]),
        train=TrainConfig(**cell.config["train"]),
        seed=cell.config["seed"],
    ).resolved()
    try:
        validate(config)
    except ConfigError as error:
        where = ", ".join(
            f"{k}={v:.6g}" if isinstance(v, float) else f"{k}={v}" for k, v in cell.varied.items()
        )
        sentence = f"Impossible run{f' at {where}' if where else ''}: {error}"
        raise SweepError(sentence, error.value, error.known) from error
    if facts.train_tokens is not None and config.train.batch_tokens > facts.train_tokens:
        raise SweepError(
            f"train.batch_tokens = {config.train.batch_tokens} is larger than the {facts.train_tokens} training tokens "
            f"of data {data['name']!r}."
        )
    if config.train.batch_tokens > facts.held_out_tokens:
        raise SweepError(
            f"data {data['name']!r} holds out {facts.held_out_tokens:,} tokens, fewer than one batch of "
            f"{config.train.batch_tokens:,}: hold out more, or lower train.batch_tokens."
        )
    return PlannedRun(run_id(config), config, data, cell.varied)
