"""Where a cluster for tests lives: its folder, the name and address of this machine, ports that are free."""

import getpass
import os
import random
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path

from tests.sweeps.slurm.processes import ClusterError

_TEMPORARY = Path("/tmp")  # not TMPDIR, which may be long: the path of a socket has 107 letters
_PREFIX = "slurm-test-"


@dataclass(frozen=True)
class Place:
    folder: Path
    user: str
    host: str
    address: str
    port: int  # of slurmctld; slurmdbd has the next one, then come the nodes

    @property
    def munge(self) -> Path:
        return self.folder / "run" / "munge"

    @property
    def database(self) -> Path:
        """The database's socket. Who reaches it may do everything, so it lies in a folder closed to others."""
        return self.folder / "db" / "socket"


def find_place(folder: Path, ports: int) -> Place:
    """A place in `folder` with `ports` free ports in a row; a ClusterError if others could reach it."""
    host = socket.gethostname().split(".")[0]
    address = loopback(host)
    # Below 32768, where Linux begins to hand out ports to whoever connects.
    for first in random.sample(range(10_000, 32_000), 100):
        if all(_free(address, port) for port in range(first, first + ports)):
            return Place(folder, getpass.getuser(), host, address, first)
    raise ClusterError(f"Found no {ports} free ports in a row on {address}.")


def loopback(host: str) -> str:
    """What `host` resolves to. SLURM's daemons listen there, so a ClusterError if others could reach it."""
    try:
        address = socket.gethostbyname(host)
    except OSError:
        address = "nothing"
    if not address.startswith("127."):
        raise ClusterError(
            f"SLURM listens at the address of the host's name, and {host} resolves to {address}, not to a loopback "
            f"address; add '127.0.0.1 {host}' to /etc/hosts."
        )
    return address


def _free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


def listening(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def own_folder() -> Path:
    """A name for a folder that says whose it is."""
    return _TEMPORARY / f"{_PREFIX}{os.getpid()}-{uuid.uuid4().hex[:6]}"


def orphans() -> list[Path]:
    """Folders of ours whose process has died without removing them."""
    found = []
    for folder in _TEMPORARY.glob(f"{_PREFIX}*-*"):
        pid = folder.name.removeprefix(_PREFIX).split("-")[0]
        if not Path("/proc", pid).exists() and folder.stat().st_uid == os.getuid():
            found.append(folder)
    return found
