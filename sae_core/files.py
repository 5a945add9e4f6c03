"""Files that are whole or not there, on local disks and on NFS: written under another name, then renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, durable: bool = True) -> Iterator[Path]:
    """A temporary path beside `path` to write to; when the block ends well it becomes `path`, else it is removed.

    durable: synced to the disk first, so that a power cut leaves the old file or the new one. Give False for what is
    written every few seconds and may be lost, such as a heartbeat.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.touch()  # here, so that the file gets the user's usual permissions: safetensors would make it 0600
    mode = temporary.stat().st_mode
    try:
        yield temporary
        os.chmod(temporary, mode)
        if durable:
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, durable: bool = True) -> None:
    with replacing(path, durable) as temporary:
        temporary.write_text(text, encoding="utf-8")
