"""What a cluster for tests looks like, and the files that tell SLURM so."""

import time
import uuid
from dataclasses import dataclass

from tests.sweeps.slurm.place import Place


@dataclass(frozen=True)
class Settings:
    """Nodes n1, n2, … with CPUs, memory and GPUs that need not exist: nothing fences a job in."""

    nodes: int = 4
    cpus: int = 8
    gpus: int = 4
    memory_mb: int = 64_000
    max_array: int = 1001  # SLURM's own default: the highest index of an array + 1
    # Whether preemption sends a job its own --signal at once. Many clusters send SIGTERM only.
    preempt_signal: bool = True
    grace_s: int = 20  # from that signal to the end of a preempted job, plus up to 30 s: see slurm_conf

    @property
    def names(self) -> list[str]:
        return [f"n{number}" for number in range(1, self.nodes + 1)]


def slurm_conf(s: Settings, at: Place) -> str:
    """slurm.conf of a cluster with partitions `main` (default) and `low`, whose jobs those of `main` preempt.

    SLURM looks at time limits, and at the end of a preempted job's grace, every 30 s; that is compiled in
    (PERIODIC_TIMEOUT of slurmctld/controller.c).
    """
    nodes = "\n".join(
        f"NodeName={name} NodeHostname={at.host} NodeAddr={at.address} Port={at.port + 2 + index} "
        f"CPUs={s.cpus} RealMemory={s.memory_mb} Gres=gpu:{s.gpus} State=UNKNOWN"
        for index, name in enumerate(s.names)
    )
    return f"""\
ClusterName=lab
SlurmctldHost={at.host}({at.address})
SlurmctldPort={at.port}
SlurmUser={at.user}
SlurmdUser={at.user}
# Listen on the host's own address, not on all interfaces.
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
# A requeued job waits cred_expire + 1 s, by default 121. With 5 it met its own last life on the node, still dying, and
# was held for ever.
AuthInfo=socket={at.munge},cred_expire=10
StateSaveLocation={at.folder}/state
SlurmdSpoolDir={at.folder}/spool/%n
SlurmctldPidFile={at.folder}/run/slurmctld.own
SlurmdPidFile={at.folder}/run/%n.own
SlurmctldLogFile={at.folder}/log/slurmctld.log
SlurmdLogFile={at.folder}/log/%n.log
# No cgroups: they need root. So nothing enforces memory or GPUs.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
PropagateResourceLimits=NONE
# A node is taken at its word about CPUs and memory it does not have, and is back as soon as it answers.
SlurmdParameters=config_overrides
ReturnToService=2
{"SlurmctldParameters=preempt_send_user_signal" if s.preempt_signal else ""}
SlurmdTimeout=15
KillWait=2
CompleteWait=0
JobRequeue=1
MaxArraySize={s.max_array}
# Ids never start at 1 again, so that a folder named by the id of an older cluster's job is not taken for a new job's.
FirstJobId={int(time.time()) % 60_000_000 + 1}
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=64
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2,bf_max_job_test=2000
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={at.address}
AccountingStoragePort={at.port + 1}
AccountingStoragePass={at.munge}
AccountingStorageTRES=gres/gpu
{nodes}
PartitionName=main Nodes=ALL Default=YES PriorityTier=10 PreemptMode=OFF DefaultTime=10 State=UP
PartitionName=low Nodes=ALL PriorityTier=1 PreemptMode=REQUEUE GraceTime={s.grace_s} DefaultTime=10 State=UP
"""


def gres_conf(s: Settings, at: Place) -> str:
    gpus = f"NodeName=n[1-{s.nodes}] Name=gpu File={at.folder}/dev/nvidia[0-{s.gpus - 1}]\n" if s.gpus else ""
    return f"AutoDetect=off\n{gpus}"


def slurmdbd_conf(at: Place) -> str:
    """slurmdbd.conf; where the database is, slurmdbd reads from MYSQL_UNIX_PORT in its environment."""
    return f"""\
DbdHost={at.host}
DbdAddr={at.address}
DbdPort={at.port + 1}
CommunicationParameters=NoInAddrAny
SlurmUser={at.user}
AuthType=auth/munge
AuthInfo=socket={at.munge}
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageLoc=slurm
StorageUser=root
LogFile={at.folder}/log/slurmdbd.log
PidFile={at.folder}/run/slurmdbd.own
"""


def write(s: Settings, at: Place) -> None:
    """Lay out the cluster's folder."""
    for name in ("etc", "log", "run", "state", "spool", "dev", "db", "work"):
        (at.folder / name).mkdir(mode=0o700)
    for gpu in range(s.gpus):  # SLURM wants a device file, and takes a link to one
        (at.folder / "dev" / f"nvidia{gpu}").symlink_to("/dev/null")
    files = {
        "slurm.conf": slurm_conf(s, at),
        "gres.conf": gres_conf(s, at),
        "slurmdbd.conf": slurmdbd_conf(at),
        "munge.key": uuid.uuid4().hex * 4,
    }
    for name, text in files.items():
        path = at.folder / "etc" / name
        path.touch(mode=0o600)  # slurmdbd refuses a file that others can read
        path.write_text(text)
