"""The cluster that other tests trust is a real one: its jobs run, fail, are preempted, and lose their nodes."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sweeps.slurm.cluster import Cluster
from tests.sweeps.slurm.daemons import Daemons
from tests.sweeps.slurm.place import orphans
from tests.sweeps.slurm.processes import until
from tests.sweeps.slurm.settings import Settings

pytestmark = pytest.mark.slow
EVERY_NODE = ("--nodes=4", "--exclusive", "--partition=low")
# What each life of a job says, in one file: SLURM counts restarts from 1 and leaves the first life without a number.
LIVES = ("--output=%j.out", "--open-mode=append")


def said(cluster: Cluster, job: str) -> list[str]:
    """The lines of its output; RUNNING comes before the script's first line, and before the file."""
    path = cluster.folder / "work" / f"{job}.out"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in lines if "slurmstepd" not in line]


def states(cluster: Cluster, job: str) -> list[str]:
    return [record["State"] for record in cluster.accounting([job])]


def test_a_job_runs_and_sacct_knows_it(cluster):
    job = cluster.submit("echo on $SLURMD_NODENAME", *LIVES)
    record = cluster.wait_ended(job)
    assert (record["State"], record["ExitCode"]) == ("COMPLETED", "0:0")
    assert said(cluster, job) == [f"on {record['NodeList']}"]


def test_a_failing_job_keeps_its_exit_code(cluster):
    record = cluster.wait_ended(cluster.submit("exit 3"))
    assert (record["State"], record["ExitCode"]) == ("FAILED", "3:0")


def test_an_array_with_a_gpu_each_spreads_over_nodes_and_devices(cluster):
    job = cluster.submit(
        "echo $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES; sleep 2", "--array=0-15", "--gres=gpu:1", *LIVES
    )
    cluster.wait_idle()
    until("all in sacct", lambda: states(cluster, job) == ["COMPLETED"] * 16, 60)
    places = [said(cluster, record["JobIDRaw"])[0] for record in cluster.accounting([job])]
    assert sorted(places) == [f"n{node} {gpu}" for node in range(1, 5) for gpu in range(4)]


def test_preemption_sends_a_job_its_signal_and_lets_it_end(cluster):
    job = cluster.submit(
        "trap 'echo told; exit 0' USR2; echo ready; sleep 60 & wait",
        *EVERY_NODE,
        *LIVES,
        "--signal=B:USR2@30",
    )
    cluster.wait_running(job)
    until("a trap", lambda: said(cluster, job) == ["ready"], 60)
    first = cluster.submit("true")
    assert cluster.wait_ended(first)["State"] == "COMPLETED"
    assert said(cluster, job) == ["ready", "told"]
    assert cluster.wait_ended(job)["State"] == "COMPLETED"  # it had its time: SLURM doesn't start it again


def test_preemption_requeues_a_job_that_its_grace_did_not_end(cluster):
    cluster.run("scontrol", "update", "partitionname=low", "gracetime=0")  # else 20 to 50 s
    try:
        job = cluster.submit("echo life ${SLURM_RESTART_COUNT:-0}; sleep 60", *EVERY_NODE, *LIVES)
        cluster.wait_running(job)
        until("a first life", lambda: said(cluster, job) == ["life 0"], 60)
        first = cluster.submit("true")
        assert cluster.wait_ended(first)["State"] == "COMPLETED"
        cluster.wait_running(job)
        until("two records", lambda: states(cluster, job) == ["PREEMPTED", "RUNNING"], 60)
        until("two lives", lambda: len(set(said(cluster, job))) >= 2, 60)
    finally:
        cluster.run("scontrol", "update", "partitionname=low", f"gracetime={cluster.settings.grace_s}")


def test_a_job_whose_node_loses_power_is_requeued_on_another(cluster):
    job = cluster.submit("echo life ${SLURM_RESTART_COUNT:-0}; sleep 60", *LIVES)
    node = cluster.wait_running(job)
    until("a first life", lambda: said(cluster, job) == ["life 0"], 60)
    cluster.kill_node(node, noticed=True)
    assert not cluster.daemons.jobs(node)
    assert cluster.wait_running(job) != node
    until("two records", lambda: states(cluster, job) == ["NODE_FAIL", "RUNNING"], 60)
    until("two lives", lambda: said(cluster, job) == ["life 0", "life 1"], 60)
    cluster.revive_node(node)


def test_a_job_outlives_its_controller_and_its_slurmd(cluster):
    job = cluster.submit("for i in 1 2 3 4 5 6; do sleep 1; done; echo whole", *LIVES)
    node = cluster.wait_running(job)
    cluster.kill_slurmd(node)
    cluster.stop_controller()
    assert cluster.run("squeue", check=False).returncode != 0
    cluster.start_controller()
    cluster.revive_node(node)
    assert cluster.wait_ended(job)["State"] == "COMPLETED"
    assert said(cluster, job) == ["whole"] and len(cluster.accounting([job])) == 1


def test_it_listens_on_loopback_only(cluster):
    ports = {int(port) for port in re.findall(r"Port=(\d+)", cluster.conf.read_text())}
    listening = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            address, port = line.split()[1].split(":")
            if int(port, 16) in ports and line.split()[3] == "0A":
                listening.append(address)
    assert len(listening) == len(ports) == 6
    assert all(address.endswith("7F") for address in listening)  # 127.…, its bytes turned round


def test_a_cluster_whose_owner_is_killed_is_cleared_away_by_the_next(cluster):
    code = "from tests.sweeps.slurm.cluster import *; Cluster(Settings(nodes=1)).start()"
    owner = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[3])
    folder = until("a folder", lambda: next(iter(Path("/tmp").glob(f"slurm-test-{owner.pid}-*")), None), 30)
    daemons = Daemons(folder / "etc" / "slurm.conf", folder / "log", {})
    until("a first daemon", daemons.pids, 30)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert orphans() == [folder]
    with Cluster(Settings(nodes=1)) as other:
        assert not daemons.pids() and not folder.exists()
        assert other.submit("true") and cluster.jobs() == []
    assert not other.daemons.pids() and not other.folder.exists()
