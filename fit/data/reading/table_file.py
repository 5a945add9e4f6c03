"""A file as a table: it is unpacked and recognised by what it holds, whatever its name ends in."""

import bz2
import gzip
import io
import itertools
import json
import lzma
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fit.data.near_names import did_you_mean
from fit.data.reading.json_rows import parse_json, table_of, with_objects_as_columns
from fit.data.reading.panels import with_runs_as_rows
from fit.data.reading.separated import read_separated
from fit.data.reading.unreadable import is_binary, looks_like
from fit.law.errors import FitError

FORMATS = "CSV or other separated text, Parquet, Feather, JSON, JSON lines or XLSX"
_LOOKED_AT = 50  # JSON files; a study's folder has one for each run


@dataclass(frozen=True)
class TableFile:
    """A table that was read, and a sentence for whatever a reader should know about how it was read."""

    table: pd.DataFrame
    notes: tuple[str, ...] = ()


def read_file(path: Path, sheet: str | None = None) -> TableFile:
    """Read a table, or a folder of results of SAEs. FitError says what the file looks like if it holds none.

    sheet: of a workbook; any other file is then refused.
    """
    if path.is_dir():
        return _results_in(path)
    if not path.exists():
        if re.match(r"\w+:/", str(path)):
            raise FitError("An address is not read: download the table first, and give its path.")
        raise FitError(f"There is no file {path}: give the path of a table.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FitError(f"{path} cannot be opened: {error.strerror}.") from error
    content, packed = _unpacked(content, path)
    described = looks_like(content)
    if described is not None:
        raise FitError(f"{path} {described}")
    if sheet is not None and not content.startswith(b"PK\x03\x04"):
        raise FitError(f"{path} is no Excel workbook and has no sheet {sheet}: leave --sheet out.")
    table, notes = _recognised(content, path, sheet)
    if packed:
        notes = [f"{path.name} was unpacked ({packed}).", *notes]
    table, objects = with_objects_as_columns(table, path.name)
    table, runs = with_runs_as_rows(table, path.name)
    if table.empty:
        raise FitError(f"{path} has no rows: there is nothing to fit.")
    return TableFile(table, (*notes, *objects, *runs))


def _recognised(content: bytes, path: Path, sheet: str | None) -> tuple[pd.DataFrame, list[str]]:
    """The table in unpacked bytes, and notes."""
    if content.startswith(b"PAR1"):
        return _by_pandas(pd.read_parquet, content, path, "Parquet")
    if content.startswith((b"ARROW1", b"FEA1")):
        return _by_pandas(pd.read_feather, content, path, "Feather")
    if content.startswith(b"PK\x03\x04"):
        return _workbook(content, path, sheet)
    if path.suffix.lower() == ".parquet":
        raise FitError(
            f"{path} cannot be read: it is called .parquet, and its content is no Parquet. Is it complete?"
        )
    text, encoding = _decoded(content, path)
    if text.lstrip()[:1] in ("{", "["):
        return parse_json(text, path.name)
    try:
        separated = read_separated(text, path.name)
    except FitError:
        raise
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        raise FitError(f"{path} cannot be read ({' '.join(str(error).split())}): is it complete?") from error
    how = f"as text in {encoding}" if encoding else "as text"
    how += f" with {', '.join(separated.dialect)}" if separated.dialect else ""
    read = [f"{path.name} was read {how}."] if how != "as text" else []
    return separated.table, [*read, *separated.notes]


def _by_pandas(
    reader: Callable[[io.BytesIO], pd.DataFrame], content: bytes, path: Path, form: str
) -> tuple[pd.DataFrame, list[str]]:
    """A table by a reader of pandas; named levels of its index are columns."""
    try:
        table = reader(io.BytesIO(content))
    except Exception as error:  # each reader has its own exceptions for broken files
        text = " ".join(str(error).split())
        raise FitError(f"{path} is {form} and cannot be read ({text}): is it complete?") from error
    names = [name for name in table.index.names if name is not None and name not in table.columns]
    notes = [] if form == "Parquet" else [f"{path.name} was read as {form}."]
    if names:
        notes.append(f"{path.name}: its index became the column {', '.join(map(str, names))}.")
        table = table.reset_index(names)
    return table, notes


def _workbook(content: bytes, path: Path, wanted: str | None) -> tuple[pd.DataFrame, list[str]]:
    """The sheet that is wanted, or the first sheet with values of an Excel workbook."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
    if not any(name.startswith("xl/") for name in names):
        kind = (
            "a spreadsheet of OpenDocument"
            if "content.xml" in names
            else "a checkpoint or an archive of several files"
        )
        raise FitError(
            f"{path} is {kind} ({', '.join(names[:3])}): save its table as .xlsx, .csv or .parquet."
        )
    try:
        sheets = pd.read_excel(io.BytesIO(content), sheet_name=None, engine="openpyxl")
    except Exception as error:  # openpyxl raises whatever a broken part of the workbook leads to
        text = " ".join(str(error).split())
        raise FitError(f"{path} is an Excel workbook and cannot be read ({text}): is it complete?") from error
    full = {name: sheet.dropna(how="all") for name, sheet in sheets.items()}
    full = {name: sheet for name, sheet in full.items() if not sheet.empty}
    if not full:
        raise FitError(f"{path} is an Excel workbook without a sheet that has rows: there is nothing to fit.")
    if wanted is not None and wanted not in full:
        raise FitError(
            f"{path} has no sheet {wanted!r} with rows; it has {', '.join(full)}.{did_you_mean(wanted, full)}"
        )
    chosen = wanted or next(iter(full))
    table = full[chosen]
    table = table.reset_index(drop=True).rename(columns=lambda name: str(name).strip())
    others = [name for name in full if name != chosen]
    left = f" Left out were {', '.join(others)}: --sheet NAME takes another." if others else ""
    return table, [f"{path.name} was read as an Excel workbook, sheet {chosen}.{left}"]


def _unpacked(content: bytes, path: Path) -> tuple[bytes, str]:
    """The content without its compression, and the name of the compression, empty without one."""
    try:
        if content.startswith(b"\x1f\x8b"):
            return gzip.decompress(content), "gzip"
        if content.startswith(b"\x28\xb5\x2f\xfd"):
            import zstandard

            with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content)) as reader:
                return reader.read(), "Zstandard"
        if content.startswith(b"BZh"):
            return bz2.decompress(content), "bzip2"
        if content.startswith(b"\xfd7zXZ"):
            return lzma.decompress(content), "xz"
        if content.startswith(b"PK\x03\x04"):
            return _only_member(content, path)
    except FitError:
        raise
    except Exception as error:  # each compression has its own exceptions
        text = " ".join(str(error).split())
        raise FitError(f"{path} is compressed and cannot be unpacked ({text}): is it complete?") from error
    return content, ""


def _only_member(content: bytes, path: Path) -> tuple[bytes, str]:
    """The one table in a zip archive; a workbook, which is such an archive too, stays as it is."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [
            each
            for each in archive.infolist()
            if not each.is_dir() and not each.filename.startswith("__MACOSX")
        ]
        names = [each.filename for each in members]
        if (
            "[Content_Types].xml" in names
            or "mimetype" in names
            or any(name.endswith(".pkl") for name in names)
        ):
            return content, ""
        if len(members) != 1:
            raise FitError(
                f"{path} is an archive of {len(members)} files ({', '.join(names[:3])}): unpack it, and name one table."
            )
        if members[0].flag_bits & 1:
            raise FitError(f"{path} is a zip archive with a password: unpack it first.")
        return archive.read(members[0]), f"zip, {names[0]}"


def _decoded(content: bytes, path: Path) -> tuple[str, str]:
    """The text of bytes, and the name of its encoding if it is not UTF-8."""
    for mark, encoding, label in (
        (b"\xef\xbb\xbf", "utf-8-sig", ""),
        (b"\xff\xfe\x00\x00", "utf-32", "UTF-32"),
        (b"\x00\x00\xfe\xff", "utf-32", "UTF-32"),
        (b"\xff\xfe", "utf-16", "UTF-16"),
        (b"\xfe\xff", "utf-16", "UTF-16"),
    ):
        if content.startswith(mark):
            return content.decode(encoding, errors="replace"), label
    sample = content[:2000]
    for offset, encoding in (
        (1, "utf-16-le"),
        (0, "utf-16-be"),
    ):  # text of mostly ASCII letters, without a mark
        if (
            len(sample) > 3
            and sample[offset::2].count(0) > 0.4 * len(sample) / 2
            and 0 not in sample[1 - offset :: 2]
        ):
            return content.decode(encoding, errors="replace"), "UTF-16"
    if is_binary(content):
        raise FitError(f"{path} is binary and in no format that is read here: save the table as {FORMATS}.")
    try:
        return content.decode("utf-8"), ""
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace"), "Windows-1252 (Latin-1)"


def holds_results(folder: Path) -> bool:
    """Whether one of the first JSON files in a folder is a result of SAEBench or SAELens."""
    return any(_result(path) is not None for path in itertools.islice(folder.rglob("*.json"), _LOOKED_AT))


def _result(path: Path) -> dict[str, Any] | None:
    """What SAEBench or SAELens wrote about one SAE; None for any other JSON file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict):
        return None
    of_sae_bench = isinstance(content.get("eval_result_metrics"), dict)
    of_sae_lens = isinstance(content.get("metrics"), dict) and "sae_id" in content
    return content if of_sae_bench or of_sae_lens else None


def _results_in(folder: Path) -> TableFile:
    """The results of SAEs in a folder, one row for each JSON file that SAEBench or SAELens wrote for one SAE.

    A cfg.json beside a result, as SAELens keeps it with the weights, joins its row if the result has no sae_cfg_dict.
    """
    rows, others = [], 0
    for path in sorted(folder.rglob("*.json")):
        content = _result(path)
        if content is None:
            others += path.name != "cfg.json"
            continue
        beside = path.parent / "cfg.json"
        if beside.is_file() and not content.get("sae_cfg_dict"):
            content["cfg"] = json.loads(beside.read_text(encoding="utf-8"))
        rows.append({"file": str(path.relative_to(folder)), **content})
    if not rows:
        raise FitError(
            f"{folder} is a folder without results of SAEBench or SAELens (JSON): name one table in it."
        )
    table, notes = table_of(rows, folder.name)
    left = f"; {others} other JSON file{'s were' if others != 1 else ' was'} left out" if others else ""
    return TableFile(
        table, (f"{folder.name} was read as {len(rows)} results of SAEs, a row each{left}.", *notes)
    )
