"""A real SLURM cluster to throw away: slurmctld, slurmdbd, MariaDB, munged and a few slurmd, all on this machine.

It needs no systemd and no root, lives in one private folder, and listens on loopback only.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from tests.sweeps.slurm import packages
from tests.sweeps.slurm.accounting import start_accounting
from tests.sweeps.slurm.daemons import Daemons
from tests.sweeps.slurm.place import find_place, loopback, orphans, own_folder
from tests.sweeps.slurm.processes import ClusterError
from tests.sweeps.slurm.settings import Settings, write

_JOB = {"JobID": "%i", "State": "%T", "NodeList": "%N", "Partition": "%P", "Reason": "%r", "Name": "%j"}
_RECORD = ("JobID", "JobIDRaw", "State", "ExitCode", "NodeList", "Partition", "Start", "End")
_OVER = ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL", "PREEMPTED")
_CLIENTS = ("SLURM", "SBATCH_", "SALLOC_", "SRUN_", "SQUEUE_", "SINFO_", "SACCT_", "SCANCEL_", "SCONTROL_")


class Cluster:
    """A cluster from start() to stop().

    Without a folder of its own it belongs to this process: should that die, the next cluster clears it away.
    """

    def __init__(self, settings: Settings | None = None, folder: Path | None = None) -> None:
        self.settings = settings or Settings()
        self.folder = folder or own_folder()
        self.conf = self.folder / "etc" / "slurm.conf"
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(_CLIENTS)}
        self.env |= {"SLURM_CONF": str(self.conf), "PATH": packages.PATH}
        database = {"MYSQL_UNIX_PORT": str(self.folder / "db" / "socket"), "LC_ALL": "C.UTF-8"}
        self.daemons = Daemons(self.conf, self.folder / "log", self.env | database)
        self.log = self.daemons.log

    @staticmethod
    def install() -> str | None:
        """Make this machine fit for a cluster, by apt-get where it lacks packages; a sentence says why it cannot be."""
        try:
            loopback(socket.gethostname())
        except ClusterError as error:
            return str(error)
        return packages.install()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything; returns when a job has run and sacct knows it. A start that fails leaves nothing behind."""
        for folder in orphans():
            Cluster(folder=folder).stop()
        self.folder.mkdir(mode=0o700)  # an error if it is there: it would be another cluster's
        try:
            place = find_place(self.folder, ports=2 + self.settings.nodes)
            write(self.settings, place)
            start_accounting(self.daemons, place)
            self.start_controller()
            for node in self.settings.names:
                self.revive_node(node)
            self.daemons.wait("all nodes idle", self._all_idle, *self.settings.names, "slurmctld")
            job = self.submit("true")
            self.daemons.wait("a first job in sacct", lambda: self._completed(job), "slurmctld", "slurmdbd")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kill all that belongs to this cluster and remove its folder: nothing in it is worth a goodbye."""
        self.daemons.kill_everything()
        shutil.rmtree(self.folder, ignore_errors=True)

    def clear(self) -> None:
        """Cancel all jobs and bring the controller and every node back, for the next test."""
        self.start_controller()
        if jobs := self.jobs():
            self.run("scancel", *(job["JobID"] for job in jobs))
            self.daemons.kill_jobs()  # what ignores SIGTERM would take 5 to 7 s
        for node in self.settings.names:
            self.revive_node(node)
        self.wait_idle()

    def wait_idle(self, timeout_s: float = 60) -> None:
        """Wait until no job is left and every node is idle."""
        self.daemons.wait("idle cluster", lambda: not self.jobs() and self._all_idle(), timeout_s=timeout_s)

    # What its users ask it.

    def run(
        self,
        *command: str,
        input: str = "",
        cwd: Path | None = None,
        check: bool = True,
        timeout_s: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run a client, by default in a folder of the cluster's; a ClusterError if it fails and check is on."""
        done = subprocess.run(
            command, input=input, cwd=cwd or self.folder / "work", env=self.env, timeout=timeout_s,
            capture_output=True, text=True,
        )  # fmt: skip
        if check and done.returncode:
            said = done.stderr.strip() or done.stdout.strip()
            raise ClusterError(f"{' '.join(command)} ended with exit code {done.returncode}: {said}")
        return done

    def submit(self, script: str, *options: str) -> str:
        """sbatch some lines of shell; returns the job's id."""
        return self.run("sbatch", "--parsable", *options, input=f"#!/bin/bash\n{script}\n").stdout.strip()

    def jobs(self) -> list[dict[str, str]]:
        """What squeue lists, a task of an array each, as 7_0: JobID, State, NodeList, Partition, Reason, Name."""
        listed = self.run("squeue", "-h", "-a", "-r", "-o", "|".join(_JOB.values())).stdout
        return [dict(zip(_JOB, line.split("|", len(_JOB) - 1), strict=True)) for line in listed.splitlines()]

    def accounting(self, ids: Iterable[str]) -> list[dict[str, str]]:
        """What sacct knows of jobs, a record for each time one was started, the oldest first; up to 3 s late.

        JobID, JobIDRaw, State, ExitCode, NodeList, Partition, Start, End. A job that ends at once may be FAILED with
        exit code 0:0 for a moment, its End yet Unknown. SLURM 22.05 has no count of restarts: count the records.
        """
        wanted = ",".join(ids)
        if not wanted:
            return []
        known = self.run("sacct", "-n", "-P", "-D", "-X", "-j", wanted, "-o", ",".join(_RECORD)).stdout
        return [dict(zip(_RECORD, line.split("|"), strict=True)) for line in known.splitlines()]

    def wait_running(self, job: str, timeout_s: float = 60) -> str:
        """Wait until a job, or a task of an array as 7_0, runs; returns its node list."""

        def node() -> str | None:
            listed = (one for one in self.jobs() if one["JobID"] == job and one["State"] == "RUNNING")
            return next((one["NodeList"] for one in listed), None)

        return self.daemons.wait(f"running job {job}", node, "slurmctld", timeout_s=timeout_s)

    def wait_ended(self, job: str, timeout_s: float = 60) -> dict[str, str]:
        """Wait until sacct calls a job, or a task as 7_0, over, with no requeue to come; returns its last record."""

        def last() -> dict[str, str] | None:
            record = next(reversed(self.accounting([job])), None)
            if record is None or record["State"].split()[0] not in _OVER or record["End"] == "Unknown":
                return None
            return None if any(one["JobID"] == job for one in self.jobs()) else record

        return self.daemons.wait(f"end of job {job}", last, "slurmctld", timeout_s=timeout_s)

    # What can happen to it.

    def kill_node(self, node: str, noticed: bool = False) -> None:
        """A node loses power: its slurmd and every process of its jobs are gone at once.

        noticed: tell the controller, as the health checks of a cluster do; by itself it finds out after about 30 s.
        """
        self.daemons.kill_node(node)
        if noticed:
            self.run("scontrol", "update", f"nodename={node}", "state=down", "reason=power")

    def kill_slurmd(self, node: str) -> None:
        """A node's slurmd crashes; its jobs go on."""
        self.daemons.kill(node)

    def revive_node(self, node: str) -> None:
        """Start a node's slurmd unless it runs."""
        (self.folder / "spool" / node).mkdir(exist_ok=True)
        if not self.daemons.head(node):
            self.daemons.start(node, "slurmd", "-D", "-f", self.conf, "-N", node)

    def stop_controller(self) -> None:
        """Stop slurmctld as an administrator does. Killed, it forgets the last seconds and hands out ids twice."""
        self.daemons.stop("slurmctld", timeout_s=30)

    def start_controller(self) -> None:
        """Start slurmctld unless it runs, and wait until it answers."""
        if self.daemons.head("slurmctld"):
            return
        self.daemons.start("slurmctld", "slurmctld", "-D", "-f", self.conf)
        self.daemons.wait("slurmctld that answers", self._answers, "slurmctld")

    def _answers(self) -> bool:
        return "is UP" in self.run("scontrol", "ping", check=False).stdout

    def _all_idle(self) -> bool:
        states = self.run("sinfo", "-h", "-N", "-p", "main", "-o", "%t").stdout.split()
        return states == ["idle"] * self.settings.nodes

    def _completed(self, job: str) -> bool:
        return any(record["State"] == "COMPLETED" for record in self.accounting([job]))
