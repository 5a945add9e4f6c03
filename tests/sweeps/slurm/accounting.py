"""munged, MariaDB and slurmdbd: without all three, sacct answers nothing."""

from tests.sweeps.slurm.daemons import Daemons
from tests.sweeps.slurm.place import Place, listening
from tests.sweeps.slurm.processes import ClusterError


def start_accounting(daemons: Daemons, at: Place) -> None:
    run, logs = at.folder / "run", at.folder / "log"
    daemons.start(
        "munged", "munged", "--foreground", "--num-threads=2",
        "--force",  # it wants a socket that every user reaches, and the folder is closed to others
        f"--key-file={at.folder}/etc/munge.key",
        f"--socket={at.munge}", f"--pid-file={run}/munged.own", f"--seed-file={run}/munge.seed",
        f"--log-file={logs}/munged.log",
    )  # fmt: skip
    _start_database(daemons, at)
    daemons.wait("munged's socket", at.munge.exists, "munged")
    daemons.start("slurmdbd", "slurmdbd", "-D")
    # A slurmctld that starts for the first time and does not reach it ends.
    daemons.wait("slurmdbd listening", lambda: listening(at.address, at.port + 1), "slurmdbd")


def _start_database(daemons: Daemons, at: Place) -> None:
    # In a common /tmp two clusters that start at once take each other's temporary tables away (seen once).
    where = ["--no-defaults", f"--datadir={at.folder}/db", f"--tmpdir={at.folder}/run", f"--user={at.user}"]
    making = daemons.start(
        "mariadb-install-db", "mariadb-install-db", *where, "--skip-test-db", "--skip-name-resolve"
    )
    if making.wait(120):
        raise ClusterError(f"mariadb-install-db failed:\n{daemons.log('mariadb-install-db')[-2000:]}")
    daemons.start(
        "mariadbd", "mariadbd", *where, f"--socket={at.database}", "--skip-networking", "--skip-grant-tables",
        f"--log-error={at.folder}/log/mariadbd.log", "--performance-schema=OFF", "--innodb-buffer-pool-size=64M",
        "--loose-innodb-buffer-pool-size-max=64M",  # else it reserves 8 TB of virtual memory
        "--innodb-flush-log-at-trx-commit=0",
    )  # fmt: skip
    daemons.wait("database", at.database.exists, "mariadbd")
