"""fits.json: the fits of a study on disk, with a fingerprint of the rows that they were made from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from fit.data import files
from fit.data.fingerprint import Fingerprint
from fit.law.errors import FitError
from fit.law.json_values import plain
from fit.law.result import FitResult
from fit.regimes.compare import Regimes

NAME = "fits.json"


@dataclass(frozen=True)
class MadeFrom:
    """The rows that fits were made from: after `mapping`, our column names to the table's, and where `where` holds.

    curves: the evaluations of those runs, None where none were given.
    """

    runs: Fingerprint
    curves: Fingerprint | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    where: str | None = None

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "MadeFrom":
        """The inverse of `dataclasses.asdict`. Raises KeyError or TypeError for anything else."""
        curves = content["curves"] and Fingerprint(**content["curves"])
        return cls(Fingerprint(**content["runs"]), curves, dict(content["mapping"]), content["where"])


@dataclass(frozen=True)
class FitsFile:
    """A fits.json that was read. content: all of it as plain data; made_from: None in a file that does not say."""

    path: Path
    content: Mapping[str, Any]
    table: str | None
    made_from: MadeFrom | None
    fits: tuple[FitResult, ...]
    regimes: Regimes | None


def version() -> str | None:
    """The version of the installed saescale, None when it runs from a checkout."""
    try:
        return metadata.version("saescale")
    except metadata.PackageNotFoundError:
        return None


def write_json(
    results: Sequence[FitResult],
    table: str,
    path: Path,
    regimes: Regimes | None = None,
    made_from: MadeFrom | None = None,
) -> Path:
    """Write fits.json, complete or not at all, in full precision. A file that says the same already is left as it is.

    Parameters
    ----------
    results : the fits.
    table : path of the table of runs, for a person to read.
    path : the file to write.
    regimes : L(C) compared with L(N), see `regimes.compare`.
    made_from : the rows behind the fits. Without it a reader cannot check that the fits are of its table.
    """
    content = {
        "saescale": version(),
        "table": table,
        "made_from": made_from and asdict(made_from),
        "fits": [result.to_dict() for result in results],
        "regimes": None if regimes is None else plain(regimes.to_dict()),
    }
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if _says(path, json.loads(text)):
        return path
    return files.write(path, text.encode())


def _says(path: Path, content: Mapping[str, Any]) -> bool:
    """Whether a file has this content, if keys that an older version did not write are absent or null."""
    try:
        there = read(path)
    except FitError:
        return False
    now = replace(parse(content, path), content=there.content)
    return there == now and there.content.get("saescale") == content["saescale"]


def read_json(path: Path) -> dict[str, Any]:
    """The content of fits.json; FitError if `saescale fit` cannot have written it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FitError(f"{path.name} cannot be read as JSON ({error}); `saescale fit` writes it.") from error
    if not isinstance(content, dict) or not isinstance(content.get("fits"), list):
        raise FitError(f'{path.name} was not written by `saescale fit`: it has no list "fits".')
    return content


def read(path: Path) -> FitsFile:
    """Read fits.json; FitError if `saescale fit` cannot have written it."""
    return parse(read_json(path), path)


def parse(content: Mapping[str, Any], path: Path = Path(NAME)) -> FitsFile:
    """The typed fits in the content of a fits.json; FitError if a part of one is absent."""
    regimes, made_from = content.get("regimes"), content.get("made_from")
    try:
        return FitsFile(
            path,
            content,
            content.get("table"),
            made_from and MadeFrom.from_dict(made_from),
            tuple(FitResult.from_dict(fit) for fit in content["fits"]),
            regimes and Regimes.from_dict(regimes),
        )
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise FitError(
            f"{path.name} cannot be read ({type(error).__name__}: {error}): fit the table again with `saescale fit`."
        ) from error
