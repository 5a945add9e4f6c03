"""Run each contender of the training benchmarks in its own process, and make rows from their laps."""

import importlib
import json
import os
import subprocess
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.train.case import WARM, Case, device, read_rows

ROOT = Path(__file__).parents[2]
PEERS_PYTHON = ROOT / ".venv" / "peers" / "bin" / "python"
PEERS = {"eai-sparsify": "sparsify", "sae-lens": "sae_lens", "dictionary-learning": "dictionary_learning"}
_ENV = {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled", "TOKENIZERS_PARALLELISM": "false"}
# Without a GPU, sparsify by default still uses its Triton kernels, which fail.
_CPU_ENV = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "SPARSIFY_DISABLE_TRITON": "1"}


def measure(name: str, case: Case, folder: Path) -> list[dict[str, Any]]:
    """The rows of one contender in this process: a peer's name, or `ours:` and a task of `train_ours`."""
    if device() == "cpu":
        torch.set_num_threads(1)
    x = read_rows(folder)
    if name in PEERS:
        torch.set_float32_matmul_precision("high")  # tf32 on CUDA, which sparsify also sets
        peer = importlib.import_module(f"benchmarks.peers.{PEERS[name]}")
        return [
            {
                "task": "step",
                "seconds": peer.laps(case, x)[WARM:],
                "package": f"{name} {version(name)}",
            }
        ]
    ours = importlib.import_module("benchmarks.train.ours")
    return list(ours.TASKS[name.removeprefix("ours:")](case, x, folder))


def missing(python: Path) -> dict[str, str]:
    """The reason for each peer that cannot be measured."""
    if not python.is_file():
        return dict.fromkeys(PEERS, f"there is no {python}; `make .venv/peers/ready` installs the peers")
    code = "import sys, importlib.util as u; print(*[m for m in sys.argv[1:] if u.find_spec(m) is None])"
    done = subprocess.run(
        [str(python), "-c", code, *PEERS.values()], capture_output=True, text=True, check=True
    )
    absent = done.stdout.split()
    return {name: f"{python} cannot import {module}" for name, module in PEERS.items() if module in absent}


def in_its_own_process(name: str, case: Case, folder: Path, python: Path) -> list[dict[str, Any]] | str:
    """The contender's rows, or the last line of its error output if it failed."""
    chosen = str(python) if name in PEERS else sys.executable
    told = json.dumps(asdict(case))
    command = [chosen, "-m", "benchmarks.train", "--contender", name, "--case", told, "--folder", str(folder)]
    env = os.environ | _ENV | ({} if device() == "cuda" else _CPU_ENV)
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in said if "Error" in line.partition(":")[0]]  # a progress bar may come last
        return (errors or said or [f"exit code {done.returncode}"])[-1]
    return list(json.loads(done.stdout.splitlines()[-1]))  # peers may print before this line


def merged(name: str, case: Case, results: list[list[dict[str, Any]] | str]) -> list[dict[str, Any]]:
    """The rows of one contender: medians over all rounds, and tokens per second of all runs in a pack together."""
    sizes = {key: value for key, value in asdict(case).items() if key != "laps"}
    failed = next((result for result in results if isinstance(result, str)), None)
    if failed is not None:
        return [{"contender": name.split(":")[0], **sizes, "failed": failed}]
    rounds = [result for result in results if not isinstance(result, str)]
    return [
        _row({"contender": name.split(":")[0], **sizes}, list(parts)) for parts in zip(*rounds, strict=True)
    ]


def _row(row: dict[str, Any], parts: list[dict[str, Any]]) -> dict[str, Any]:
    same = {key: value for key, value in parts[0].items() if not isinstance(value, list)}
    lists = {
        key: [v for part in parts for v in part[key]] for key in parts[0] if isinstance(parts[0][key], list)
    }
    seconds = lists.pop("seconds")
    runs = same.get("runs", 1)
    return {
        **row,
        "runs": runs,
        **same,
        "device": device(),
        "seconds": median(seconds),
        "least": min(seconds),
        "most": max(seconds),
        "laps": len(seconds),
        "tokens_per_second": runs * row["batch_tokens"] / median(seconds),
        **{key: median(values) for key, values in lists.items()},
    }
