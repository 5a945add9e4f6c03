"""Soak: 200 runs on a real SLURM with a random fault every few seconds for five minutes, then three zeros. `make soak`

Faults: a job is preempted, warned, killed or its worker is killed; a node loses power and comes back; the controller is
away for some seconds; a second launch is typed. None of it may lose a run, train one twice, or change a bit of a curve.
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.sweeps.slurm.cluster import Cluster
from tests.sweeps.slurm.processes import ClusterError, send
from tests.sweeps.slurm.study import TinyStudy


class Faults:
    """What can go wrong, each a method; those that need a victim do nothing while there is none."""

    def __init__(self, cluster: Cluster, study: TinyStudy, seed: int) -> None:
        self.cluster, self.study, self.random = cluster, study, random.Random(seed)
        self.done: Counter[str] = Counter()
        self.others: list[subprocess.Popen[str]] = []

    def one(self) -> None:
        """A fault at random."""
        signals = (self.warned, self.killed, self.terminated)
        kinds: tuple[Callable[[], bool], ...] = (
            self.preempted,
            self.power_lost,
            self.silent,
            self.launched_again,
        )
        kind = self.random.choice(signals + kinds)
        if kind():
            self.done[kind.__name__] += 1

    def _signalled(self, name: str) -> bool:
        running = [job["JobID"] for job in self.cluster.jobs() if job["State"] == "RUNNING"]
        if not running:
            return False
        job = self.random.choice(running)
        try:
            done = self.cluster.run("scancel", f"--signal={name}", job, check=False, timeout_s=5)
        except subprocess.TimeoutExpired:  # its node has just lost power
            return False
        return done.returncode == 0

    def warned(self) -> bool:
        return self._signalled("USR2")

    def killed(self) -> bool:
        pids = self.study.pids()
        send(pids and [self.random.choice(pids)], signal.SIGKILL)
        return bool(pids)

    def terminated(self) -> bool:
        return self._signalled("TERM")

    def preempted(self) -> bool:
        nodes = self.random.randint(1, 3)
        self.cluster.submit(
            "sleep 2", "--partition=main", f"--nodes={nodes}", "--exclusive", "--output=/dev/null"
        )
        return True

    def power_lost(self) -> bool:
        node = self.random.choice(self.cluster.settings.names)
        self.cluster.kill_node(node, noticed=True)
        time.sleep(self.random.uniform(0, 3))
        self.cluster.revive_node(node)
        return True

    def silent(self) -> bool:
        self.cluster.stop_controller()
        time.sleep(self.random.uniform(1, 6))
        self.cluster.start_controller()
        return True

    def launched_again(self) -> bool:
        if sum(other.poll() is None for other in self.others) > 1:
            return False
        self.others.append(self.study.start("launch", *self.study.overrides))
        return True


def soak(cluster: Cluster, folder: Path, runs: int, minutes: float, seed: int) -> Faults:
    """Launch, torment, let it end, check. AssertionError or ClusterError where something was lost."""
    size = (
        "train.max_tokens=8192",
        "launcher.workers=12",
        "launcher.slurm.partition=low",
        "launcher.runs_per_pack=4",
    )
    patient = ("launcher.retries.lost=99", "launcher.retries.node=99", "launcher.slurm.patience_s=120")
    study = TinyStudy(cluster, folder, f"seed=range(0,{runs})", *size, *patient, slow=0.05)
    faults = Faults(cluster, study, seed)
    waiting = study.start("launch", *study.overrides, "--wait")
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end and waiting.poll() is None:
        time.sleep(faults.random.uniform(2, 5))
        faults.one()
    for other in faults.others:
        other.communicate(timeout=300)
    out, _ = waiting.communicate(timeout=900)
    if waiting.returncode:
        study.launch("--wait", timeout_s=900)  # what the last fault took with it
    study.check(runs)
    return faults


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--runs", type=int, default=200)
    p.add_argument("--minutes", type=float, default=5.0)
    p.add_argument("--seed", type=int, default=0)
    options = p.parse_args()
    reason = Cluster.install()
    if reason:
        print(f"No soak: {reason}", file=sys.stderr)
        return 1
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, Cluster() as cluster:
        try:
            faults = soak(cluster, Path(folder), options.runs, options.minutes, options.seed)
        except (AssertionError, ClusterError) as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    kinds = ", ".join(f"{count} {name}" for name, count in sorted(faults.done.items()))
    print(
        f"{options.runs} runs, {sum(faults.done.values())} faults ({kinds}), {time.monotonic() - began:.0f} s"
    )
    print("0 runs lost, 0 trained twice, 0 wrong rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
