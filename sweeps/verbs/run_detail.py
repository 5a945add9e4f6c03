"""All that is known of one run: where it ran, how it ended, why it failed, its logs. `saescale status STUDY RUN_ID`"""

from pathlib import Path

from sweeps.ledger import failures, launches
from sweeps.ledger.claims import current_status
from sweeps.ledger.run_folder import RunFolder, Study


def lines(folder: RunFolder) -> list[str]:
    """Everything that one run's folder says of it, a line each."""
    status = current_status(folder)
    found = [f"{folder.path}: {status.state} at {status.tokens:,} tokens"]
    if status.message:
        found.append(f"  {status.message}")
    for facts in (folder.environment() or {}, folder.result() or {}):
        found += [f"  {key}: {value}" for key, value in facts.items() if value is not None]
    found += [
        f"  failed {one.at}: {one.kind}, {one.message}" + (f" ({one.host})" if one.host else "")
        for one in failures.failures(folder, since_retry=False)
    ]
    found += [f"  log: {path}" for path in logs(folder)]
    return found + (folder.traceback() or "").splitlines()


def logs(folder: RunFolder) -> list[Path]:
    """The logs of the jobs that were given the run, the newest last."""
    found = []
    for launch in launches.launches(Study(folder.path.parent)):
        given = [job for job, runs in launch.jobs.items() if folder.run_id in runs]
        found += [path for job in given for path in sorted(launch.folder.glob(f"{job}_*log.out"))]
    return found
