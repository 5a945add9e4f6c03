"""A SLURM cluster to play with: python -m tests.sweeps.slurm up | down | kill NODE | revive NODE"""

import os
import sys
from pathlib import Path

from tests.sweeps.slurm.cluster import Cluster
from tests.sweeps.slurm.processes import ClusterError


def main(arguments: list[str]) -> int:
    cluster = Cluster(folder=Path(f"/tmp/slurm-lab-{os.getuid()}"))
    try:
        match arguments:
            case ["up"]:
                up(cluster)
            case ["down"]:
                cluster.stop()
            case ["kill", node]:
                cluster.kill_node(node)
            case ["revive", node]:
                cluster.revive_node(node)
            case _:
                print(__doc__)
                return 2
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def up(cluster: Cluster) -> None:
    """Start it, unless it runs; print what a shell needs to talk to it."""
    if not cluster.daemons.head("slurmctld"):
        cluster.stop()  # what a killed `up` left
        reason = Cluster.install()
        if reason:
            raise ClusterError(reason)
        cluster.start()
    print(f"export SLURM_CONF={cluster.conf}")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
