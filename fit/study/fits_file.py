"""fits.json: the fits of a study on disk, complete or not there at all."""

import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from fit.data import files
from fit.law.errors import FitError
from fit.law.json_values import plain
from fit.law.result import FitResult


class Described(Protocol):
    """Something that turns into plain data for JSON."""

    def to_dict(self) -> Mapping[str, Any]: ...


def version() -> str | None:
    """Version of the installed saescale, None when it runs from a checkout."""
    try:
        return metadata.version("saescale")
    except metadata.PackageNotFoundError:
        return None


def write_json(
    results: Sequence[FitResult], table: str, path: Path, regimes: Described | None = None
) -> Path:
    """fits.json: complete or not at all, in full precision. regimes: L(C) against L(N), see `regimes.compare`."""
    content = {"saescale": version(), "table": table, "fits": [result.to_dict() for result in results]}
    content["regimes"] = None if regimes is None else plain(regimes.to_dict())
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return files.write(path, text.encode())


def read_json(path: Path) -> dict[str, Any]:
    """The content of fits.json; FitError where it is not what `saescale fit` writes."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FitError(f"{path.name} cannot be read as JSON ({error}); `saescale fit` writes it.") from error
    if not isinstance(content, dict) or not isinstance(content.get("fits"), list):
        raise FitError(f'{path.name} is not what `saescale fit` writes: it has no list "fits".')
    return content
