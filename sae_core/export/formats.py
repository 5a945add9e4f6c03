"""The export layouts: the activations that each supports, and functions to write a layout and to read it back."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

from safetensors import SafetensorError

from sae_core.export import dictionary_learning, openai, saelens, sparsify
from sae_core.export.about import About, ExportError
from sae_core.model import SAE


@dataclass(frozen=True)
class Format:
    """One export layout."""

    name: str
    holds: tuple[str, ...]  # the activations that the layout supports
    marks: tuple[str, ...]  # a folder that has all these files is read in this layout
    write: Callable[[Path, SAE, About], None]
    read: Callable[[Path], SAE]
    folder: Callable[[About], str] = lambda about: ""  # the subfolder of --out that the tool opens
    needs_module: bool = False


FORMATS = {
    each.name: each
    for each in (
        Format(
            "saelens",
            tuple(saelens.ARCHITECTURES),
            (saelens.CONFIG, saelens.WEIGHTS),
            saelens.write,
            saelens.read,
        ),
        Format(
            "sparsify",
            sparsify.ACTIVATIONS,
            (sparsify.CONFIG, sparsify.WEIGHTS),
            sparsify.write,
            sparsify.read,
            sparsify.folder_name,
            needs_module=True,
        ),
        Format(
            "dictionary_learning",
            tuple(dictionary_learning.CLASSES),
            (dictionary_learning.CONFIG, dictionary_learning.WEIGHTS),
            dictionary_learning.write,
            dictionary_learning.read,
            lambda about: "trainer_0",
        ),
        Format("openai", tuple(openai.ACTIVATIONS), (openai.WEIGHTS,), openai.write, openai.read),
    )
}


def refusal(name: str, activation: str, about: About) -> str | None:
    """One sentence on why the layout cannot hold an SAE with this activation and provenance; None if it can."""
    layout = FORMATS[name]
    if activation not in layout.holds:
        can = ", ".join(each.name for each in FORMATS.values() if activation in each.holds)
        return f"{name} has no {activation} SAE, only {', '.join(layout.holds)}; {can} can hold it."
    if layout.needs_module and about.module.name is None:
        return f"{name} names its folder after the module whose output was read: {about.module.why}."
    return None


def target(name: str, out: Path, about: About) -> Path:
    """The folder that the tool opens: `out` itself, `out`/MODULE or `out`/trainer_0."""
    return out / FORMATS[name].folder(about)


def export(name: str, sae: SAE, about: About, out: Path) -> Path:
    """Write `sae` in the layout `name` and return the folder that the tool opens.

    The folder appears only when all its files are written. Raise ExportError if the layout cannot hold the SAE, or if
    the folder exists and is not empty.
    """
    refused = refusal(name, sae.config.activation, about)
    if refused:
        raise ExportError(refused)
    folder = target(name, out, about)
    refuse_taken(folder)
    with _whole(folder) as temporary:
        FORMATS[name].write(temporary, sae, about)
    return folder


def refuse_taken(folder: Path) -> None:
    """Raise ExportError if `folder` exists, unless it is an empty folder."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportError(f"{folder} is there already: delete it, or choose another --out.")


def load(folder: Path) -> SAE:
    """Read the SAE from a folder in any of the layouts; raise ExportError if it cannot be read."""
    for layout in FORMATS.values():
        if all((folder / mark).is_file() for mark in layout.marks):
            return _read(layout, folder)
    known = "; ".join(f"{each.name}: {', '.join(each.marks)}" for each in FORMATS.values())
    raise ExportError(
        f"{folder} holds no SAE in a layout that saescale reads. It looks for these files: {known}."
    )


def _read(layout: Format, folder: Path) -> SAE:
    try:
        return layout.read(folder)
    except ExportError:
        raise
    except (
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
        AttributeError,
        EOFError,
        OSError,
        UnpicklingError,
        SafetensorError,
    ) as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise ExportError(
            f"{folder} is not a {layout.name} export that can be read ({type(error).__name__}: {first})."
        ) from error


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `folder`; on success it is synced and renamed to `folder`, otherwise removed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        _sync(list(temporary.iterdir()))
        os.rename(temporary, folder)  # also replaces an empty folder
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sync(files: Sequence[Path]) -> None:
    for path in files:
        os.chmod(path, 0o666 & ~_umask())  # safetensors creates files with mode 0600
        with open(path, "rb") as file:
            os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
