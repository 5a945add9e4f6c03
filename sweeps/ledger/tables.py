"""Rebuild the tables of a study from its run folders.  Schema: docs/tables.md"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sae_core.files import replacing
from sweeps.errors import SweepError
from sweeps.ledger import failures
from sweeps.ledger.claims import current_status
from sweeps.ledger.run_folder import RunFolder, Study

# The order and type of the columns, whatever the runs have reached: an empty column is there, and missing.
RUN_COLUMNS = {
    **dict.fromkeys(("run_id", "study", "state", "failure", "message"), "string"),
    "failures": "Int64",
    **dict.fromkeys(("data", "data_fingerprint"), "string"),
    **dict.fromkeys(("shuffle_seed", "d_model"), "Int64"),
    **dict.fromkeys(("store", "model", "text", "prepare"), "string"),
    **dict.fromkeys(("layer", "context", "n_features", "dictionary_seed"), "Int64"),
    **dict.fromkeys(("zipf", "features_per_token"), "Float64"),
    **dict.fromkeys(("n_latents", "k"), "Int64"),
    "activation": "string",
    **dict.fromkeys(("sparsity_coef", "init_threshold", "bandwidth"), "Float64"),
    "multi_topk": "boolean",
    "matryoshka": "Int64",
    "auxk_coef": "Float64",
    **dict.fromkeys(("k_aux", "dead_tokens"), "Int64"),
    "encoder_bias": "boolean",
    "init_scale": "string",
    "lr": "Float64",
    "lr_schedule": "string",
    **dict.fromkeys(("batch_tokens", "micro_batch_tokens"), "Int64"),
    "precision": "string",
    "fused_update": "boolean",
    "max_tokens": "Int64",
    "stop": "string",
    **dict.fromkeys(("epsilon", "adam_beta1", "adam_beta2", "adam_eps", "ema", "clip_grad"), "Float64"),
    **dict.fromkeys(("evals_per_doubling", "first_eval_tokens", "seed", "tokens", "steps"), "Int64"),
    **dict.fromkeys(
        ("nmse", "nmse_live", "nmse_ema", "nmse_best", "nmse_oracle", "l0", "dead_fraction"), "Float64"
    ),
    **dict.fromkeys(("flops_dense", "flops_sparse"), "Float64"),
    "converged": "boolean",
    **dict.fromkeys(("nmse_inf", "nmse_inf_se", "tail_gap", "last_doubling"), "Float64"),
    **dict.fromkeys(
        ("train_seconds", "gpu_seconds", "tokens_per_second", "wait_seconds", "wait_share"), "Float64"
    ),
    "memory_peak_bytes": "Int64",
    "device": "string",
    "threads": "Int64",
    **dict.fromkeys(("host", "job", "git_sha"), "string"),
    "git_dirty": "boolean",
    **dict.fromkeys(("saescale", "torch", "triton", "started", "ended"), "string"),
}
CURVE_COLUMNS = {
    **dict.fromkeys(("run_id", "study"), "string"),
    **dict.fromkeys(("step", "tokens"), "Int64"),
    **dict.fromkeys(
        ("nmse", "nmse_live", "nmse_ema", "l0", "dead_fraction", "train_nmse", "auxk_loss"), "Float64"
    ),
    **dict.fromkeys(
        ("penalty", "grad_norm", "flops_dense", "flops_sparse", "train_seconds", "tokens_per_second"),
        "Float64",
    ),
    "wait_seconds": "Float64",
    **dict.fromkeys(("micro_batch_tokens", "memory_peak_bytes"), "Int64"),
    "data": "string",
    **dict.fromkeys(("d_model", "n_latents", "k"), "Int64"),
    "lr": "Float64",
    "lr_schedule": "string",
    **dict.fromkeys(("batch_tokens", "seed"), "Int64"),
}
LATENT_COLUMNS = {
    "run_id": "string",
    **dict.fromkeys(("n_latents", "k"), "Int64"),
    "quantity": "string",
    **dict.fromkeys(("low", "high"), "Float64"),
    "count": "Int64",
}
_REPEATED = ("study", "data", "d_model", "n_latents", "k", "lr", "lr_schedule", "batch_tokens", "seed")


def collect(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """runs and curves of a study as they stand now; failed and pending runs are rows."""
    runs: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    for folder in study.runs():
        curve = folder.curve()
        row = run_row(folder, study.name, curve)
        runs.append(row)
        curves += [evaluation | {key: row[key] for key in ("run_id", *_REPEATED)} for evaluation in curve]
    return _typed(runs, RUN_COLUMNS), _typed(curves, CURVE_COLUMNS)


def run_row(folder: RunFolder, study: str, curve: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One run's row: config, last evaluation, and the result where it has ended. What cannot be read is missing."""
    status = current_status(folder)
    row: dict[str, Any] = {"run_id": folder.run_id, "study": study, "state": status.state}
    row |= {"failure": status.failure, "message": status.message}
    row["failures"] = len(failures.failures(folder, since_retry=False))
    last = dict(curve[-1]) if curve else {}
    last["steps"] = last.pop("step", None)
    try:
        config = folder.config()
        facts = folder.environment() or {}, folder.result() or {}
    except SweepError as error:
        return dict.fromkeys(_REPEATED) | row | {"state": "unreadable", "message": str(error)}
    return row | _config_columns(config) | last | facts[0] | facts[1]


def _config_columns(config: dict[str, Any]) -> dict[str, Any]:
    data, run = config["data"], config["run"]
    synthetic, harvested = data.get("synthetic") or {}, data.get("harvest") or {}
    return {
        "data": data["name"],
        "data_fingerprint": run["data"]["fingerprint"],
        "shuffle_seed": run["data"]["shuffle_seed"],
        "d_model": run["data"]["d_model"],
        "store": Path(data["store"]).name if data.get("store") else None,
        **{key: harvested.get(key) for key in ("model", "layer", "context", "text", "prepare")},
        **{key: synthetic.get(key) for key in ("n_features", "zipf")},
        "features_per_token": synthetic.get("l0"),
        "dictionary_seed": synthetic.get("seed"),
        "seed": run["seed"],
        **run["sae"],
        **run["train"],
    }


def collect_latents(study: Study) -> pd.DataFrame:
    """The histograms over the latents of every run that has them, a row a bin that is not empty."""
    rows = [row for folder in study.runs() for row in _latent_rows(folder)]
    return _typed(rows, LATENT_COLUMNS)


def _latent_rows(folder: RunFolder) -> list[dict[str, Any]]:
    try:
        found = folder.latents() or {}
        sae = folder.config()["run"]["sae"] if found else {}
    except SweepError:
        return []  # `run_row` tells of a folder that cannot be read
    rows = []
    for quantity in found.keys() - {"tokens"}:
        of = found[quantity]
        row = {"run_id": folder.run_id, "n_latents": sae["n_latents"], "k": sae["k"], "quantity": quantity}
        width = (of["high"] - of["low"]) / len(of["counts"])
        bins = [
            {"low": of["low"] + i * width, "high": of["low"] + (i + 1) * width, "count": count}
            for i, count in enumerate(of["counts"])
        ]
        rows += [row | part for part in [*bins, {"count": of["never"]}] if part["count"]]
    return sorted(rows, key=lambda row: row["quantity"])


def write_tables(study: Study) -> list[Path]:
    """Write runs.parquet, curves.parquet and, where a run has them, latents.parquet into the study's folder.

    Each by rename; returns their paths.
    """
    runs, curves = collect(study)
    latents = collect_latents(study)
    paths = [_write(runs, study.path / "runs.parquet"), _write(curves, study.path / "curves.parquet")]
    return paths + ([_write(latents, study.path / "latents.parquet")] if len(latents) else [])


def _typed(rows: list[dict[str, Any]], columns: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


def _write(frame: pd.DataFrame, path: Path) -> Path:
    with replacing(path) as temporary:
        frame.to_parquet(temporary, index=False)
    return path
