"""The daemons of one cluster, found in /proc by their environment: no pid file can be stale, or not yet written."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.sweeps.slurm.processes import (
    ClusterError,
    T,
    command,
    descendants,
    environment,
    everyone,
    send,
    until,
)

_MARK = "TEST_CLUSTER_DAEMON"  # not SLURM_…, which srun would take for an option
_CHILDREN = {"slurmstepd", "slurmscriptd"}  # they inherit the mark of the daemon that started them


class Daemons:
    """What runs with `conf` as its SLURM_CONF: daemons, one name each, and the jobs that slurmd started."""

    def __init__(self, conf: Path, logs: Path, env: dict[str, str]) -> None:
        self.conf, self.logs, self.env = conf, logs, env
        # Kept to be asked now and then, so that none stays a zombie of ours.
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *arguments: str | Path) -> subprocess.Popen[bytes]:
        """Start a daemon in a session of its own, which no Ctrl-C at a terminal reaches.

        The mark comes last, since a stepd's title overwrites what its environment shows up to SLURM_CONF.
        """
        with open(self.logs / f"{name}.out", "ab") as out:
            started = subprocess.Popen(
                arguments, env=self.env | {_MARK: name}, cwd=self.logs, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip
        self._started.append(started)
        return started

    def wait(self, what: str, happened: Callable[[], T | None], *needed: str, timeout_s: float = 60) -> T:
        """Wait for something; a ClusterError with their logs if it takes too long or a daemon it needs has ended."""

        absent: set[str] = set()

        def look() -> T | None:
            nonlocal absent
            before, absent = absent, {name for name in needed if self.head(name) is None}
            # Twice: in the middle of its exec a process shows no environment (seen once on a busy machine).
            if dead := before & absent:
                raise ClusterError(f"{', '.join(sorted(dead))} ended, so there is no {what}.")
            return happened()

        try:
            return until(what, look, timeout_s, period_s=0.1)
        except ClusterError as error:
            raise ClusterError(
                "\n".join([str(error), *(self.log(name)[-2000:] for name in needed)])
            ) from None

    def log(self, name: str) -> str:
        """The log of slurmctld, slurmdbd, munged or mariadbd, or as n1 that of a node's slurmd."""
        files = [
            self.logs / f"{name}.{kind}" for kind in ("log", "out")
        ]  # the second of one that never began to log
        return next(
            (text for file in files if file.exists() and (text := file.read_text(errors="replace"))), ""
        )

    def pids(self, name: str | None = None) -> set[int]:
        """The processes of a daemon: itself, a controller's script runner, a slurmd's stepds. None: of all daemons."""
        self._started = [process for process in self._started if process.poll() is None]
        found = set()
        for pid in everyone():
            env = environment(pid)
            if env.get("SLURM_CONF") == str(self.conf) and _MARK in env and name in (None, env[_MARK]):
                found.add(pid)
        return found

    def head(self, name: str) -> int | None:
        """The process that was started as `name`, while it lives."""
        return next((pid for pid in self.pids(name) if command(pid) not in _CHILDREN), None)

    def jobs(self, node: str | None = None) -> set[int]:
        """The processes of jobs, on one node or on all: children of stepds, and what has left them but not its name."""
        steps = {pid for pid in self.pids(node) if command(pid) == "slurmstepd"}
        found = descendants(steps)
        for pid in everyone():
            env = environment(pid)
            its_node = env.get("SLURMD_NODENAME")
            if env.get("SLURM_CONF") == str(self.conf) and its_node and node in (None, its_node):
                found.add(pid)
        return found

    def stop(self, name: str, timeout_s: float) -> None:
        """Ask a daemon to end, and wait until it has saved what it has to."""
        head = self.head(name)
        if head is not None:
            send([head], signal.SIGTERM)
            until(f"{name} is to end", lambda: not self.pids(name), timeout_s)

    def kill(self, *names: str) -> None:
        """End daemons at once, as a crash would, leaving their stepds and jobs."""
        heads = [head for name in names if (head := self.head(name)) is not None]
        send(heads, signal.SIGKILL)
        until(f"{', '.join(names)} killed", lambda: all(self.head(name) is None for name in names), 10)

    def kill_node(self, node: str) -> None:
        """End everything on a node at once. Its slurmd goes first, so that nothing new begins, then the stepds.

        A stepd that outlives its job's processes by a moment would report them FAILED, which no power loss does.
        """
        self.kill(node)
        jobs = self.jobs(node)
        send(self.pids(node), signal.SIGKILL)
        send(jobs, signal.SIGKILL)
        self._kill_all(lambda: self.pids(node) | self.jobs(node))

    def kill_jobs(self) -> None:
        """End the processes of all jobs at once."""
        send(self.jobs(), signal.SIGKILL)

    def kill_everything(self) -> None:
        """End everything of this cluster at once."""
        self._kill_all(lambda: self.pids() | self.jobs())

    def _kill_all(self, found: Callable[[], set[int]]) -> None:
        """Kill what `found` finds until it finds nothing: a process may start another between the look and the shot."""

        def none_left() -> bool:
            left = found()
            left |= descendants(left)
            send(left, signal.SIGKILL)
            return not left

        until("all processes killed", none_left, 20)
