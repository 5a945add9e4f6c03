"""The manifest of a store: what its rows are, how many there are, and the statistics computed from all of them."""

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sae_core.errors import DataError
from sae_core.files import write_text

MANIFEST = "manifest.json"
CHECKED = (
    "checked.json"  # the times that each shard's file had when its checksum last agreed with the manifest
)
UNFINISHED = "unfinished.json"  # the writer's settings, replaced by the manifest when the store is finished
FORMAT = "saescale-store"
VERSION = 1
# A file that was changed less than this long ago may change again without another time, which has a step of 4 ms on
# many file systems and of seconds on some: its times are not noted yet.
_SETTLED_S = 2.5
SPLITS = ("train", "held_out")


@dataclass(frozen=True)
class ShardEntry:
    file: str
    split: str  # one of SPLITS
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """`denominator` is the mean of ‖x − x̄‖² over the held-out rows, x̄ = `mean` the mean training row; float64."""

    d_model: int
    dtype: str
    prepare: str
    shards: tuple[ShardEntry, ...]
    mean: tuple[float, ...]
    denominator: float
    norms: dict[str, Any]  # of the training rows before preparation
    dropped: dict[str, Any]  # tokens that gave no row, and why
    config: dict[str, Any]  # the settings that wrote the store
    about: dict[str, Any]  # model, layer, hook, tokenizer, dataset, licence: for people
    created: str
    versions: dict[str, str]
    checks: dict[str, Any] = field(
        default_factory=dict
    )  # `row_checks`; empty in a store from before there were any

    def rows(self, split: str) -> int:
        return sum(shard.rows for shard in self.shards if shard.split == split)

    @property
    def fingerprint(self) -> str:
        """Hash of what determines the data: not its path, dates or description."""
        shards = [[shard.split, shard.rows, shard.sha256] for shard in self.shards]
        data = [FORMAT, VERSION, self.d_model, self.dtype, self.prepare, shards, self.mean, self.denominator]
        return hashlib.sha256(json.dumps(data).encode()).hexdigest()[:16]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    counts = {f"n_{split}": manifest.rows(split) for split in SPLITS}
    head = {"format": FORMAT, "version": VERSION, "fingerprint": manifest.fingerprint, **counts}
    write_json(folder / MANIFEST, head | asdict(manifest))


def read_manifest(folder: Path) -> Manifest:
    """Read a store's manifest. Raises DataError if it is missing or written by another version."""
    path = folder / MANIFEST
    if not folder.is_dir():
        raise DataError(
            f"no activation store at {folder}: there is no such folder; run `saescale harvest` first."
        )
    if not path.exists():
        raise DataError(f"the activation store {folder} is unfinished: no {MANIFEST}; run its harvest again.")
    values = read_json(path)
    if (values.get("format"), values.get("version")) != (FORMAT, VERSION):
        found = f"format {values.get('format')!r}, version {values.get('version')!r}"
        raise DataError(
            f"{path} is not a manifest that this version reads: {found}, expected {FORMAT!r}, {VERSION}."
        )
    try:
        shards = tuple(ShardEntry(**shard) for shard in values["shards"])
        values = {"checks": {}} | values
        fields = {name: values[name] for name in Manifest.__dataclass_fields__} | {"shards": shards}
        manifest = Manifest(**fields | {"mean": tuple(values["mean"])})
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} lacks or misspells a field ({error}); harvest the store again.") from None
    if any(Path(shard.file).name != shard.file for shard in shards):
        raise DataError(f"{path} names a shard outside its folder; do not use this store.")
    return manifest


def times_of(path: Path) -> tuple[int, int]:
    """When a file's content and when its inode last changed, in ns. The second one cannot be set back by a program."""
    found = path.stat()
    return found.st_mtime_ns, found.st_ctime_ns


def settled(times: tuple[int, int]) -> bool:
    """Whether a later change of the file would show in its times."""
    return time.time() - max(times) / 1e9 > _SETTLED_S


def read_checked(folder: Path) -> dict[str, tuple[int, int]]:
    """The times of shards whose checksums were seen to agree, by file; without those of which nothing is known."""
    try:
        return {file: (times[0], times[1]) for file, times in read_json(folder / CHECKED).items()}
    except (OSError, DataError, TypeError, IndexError):
        return {}


def note_checked(folder: Path, times: Mapping[str, tuple[int, int]]) -> None:
    """Add shards whose checksums agree. Nothing is written in a store that cannot be written to."""
    known = read_checked(folder)
    noted = known | {file: each for file, each in times.items() if settled(each)}
    if noted != known:
        with suppress(OSError):
            write_json(folder / CHECKED, noted)


def read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); delete it and write the store again.") from None
    return values if isinstance(values, dict) else {}


def write_json(path: Path, values: dict[str, Any]) -> None:
    write_text(path, json.dumps(values, indent=1) + "\n")
