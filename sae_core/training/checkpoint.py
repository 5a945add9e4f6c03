"""Checkpoints that are never torn: written under another name, synced, renamed, and the previous one kept."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from sae_core.errors import CheckpointError
from sae_core.files import replacing

if TYPE_CHECKING:  # `saescale status` asks how far a run has come, and importing torch takes seconds
    from torch import Tensor


def save(folder: Path, step: int, tensors: dict[str, "Tensor"], meta: dict[str, Any]) -> Path:
    """Write `step-<step>.safetensors` with `meta` as JSON in its header; keep it and the one before it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:09d}.safetensors"
    write(path, tensors, meta)
    for old in _steps(folder)[:-2]:
        old.unlink(missing_ok=True)
    return path


def write(path: Path, tensors: dict[str, "Tensor"], meta: dict[str, Any]) -> None:
    """One safetensors file, atomically: a reader sees the old file or the new one, even after a power cut."""
    from safetensors.torch import save_file

    with replacing(path) as temporary:
        save_file(
            {k: v.detach().contiguous().cpu() for k, v in tensors.items()},
            temporary,
            {"meta": json.dumps(meta)},
        )


def read(path: Path) -> tuple[dict[str, "Tensor"], dict[str, Any]]:
    """Tensors and meta of one file; raises CheckpointError if it is torn or not a checkpoint."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}
            return tensors, json.loads((file.metadata() or {})["meta"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"The checkpoint {path} cannot be read ({error}); delete it to go on without it."
        ) from error


def latest(folder: Path) -> tuple[dict[str, "Tensor"], dict[str, Any]] | None:
    """The newest checkpoint, None if there is none. If it cannot be read, the one before it is taken."""
    errors = []
    for path in reversed(_steps(folder)):
        try:
            checkpoint = read(path)
        except CheckpointError as error:
            errors.append(str(error))
            continue
        if errors:
            print(f"{' '.join(errors)} Going on from {path.name}, the one before.", flush=True)
        return checkpoint
    if errors:
        raise CheckpointError(" ".join(errors))
    return None


def newest(folder: Path) -> int:
    """Optimizer steps of the newest checkpoint, readable or not; 0 if there is none."""
    paths = _steps(folder)
    return int(paths[-1].stem.removeprefix("step-")) if paths else 0


def clear(folder: Path, but_newest: bool = False) -> None:
    """Remove all checkpoints of a run, or all but the newest."""
    for path in _steps(folder)[: -1 if but_newest else None]:
        path.unlink(missing_ok=True)


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.safetensors"))
