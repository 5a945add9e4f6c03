"""Files that are whole or not there: written under another name, then renamed."""

import os
from pathlib import Path


def write(path: Path, content: bytes) -> Path:
    """Writes it, making the folder where there is none; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
