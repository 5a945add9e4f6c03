"""The state of a run now: what its folder says, and whether its worker still lives."""

from dataclasses import replace

from sweeps.ledger.claims import held
from sweeps.ledger.run_folder import RunFolder, Status


def current(folder: RunFolder) -> Status:
    """The run's status, where a running one whose worker has gone is `stopped`."""
    status = folder.status()
    if status.state == "running" and not held(folder.path):
        return replace(status, state="stopped", message="its worker is gone; launch again to go on")
    return status
