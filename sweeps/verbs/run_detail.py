"""All that is known of one run: where it ran, how it ended, why it failed, its logs. `saescale status STUDY RUN_ID`"""

from pathlib import Path

from sweeps.ledger import failures, launches
from sweeps.ledger.current import current
from sweeps.ledger.run_folder import RunFolder, Study


def lines(folder: RunFolder) -> list[str]:
    """Everything that one run's folder says of it, a line each."""
    status = current(folder)
    found = [f"{folder.path}: {status.state} at {status.tokens:,} tokens"]
    if status.message:
        found.append(f"  {status.message}")
    for name in ("environment.json", "result.json"):
        facts = folder.read_json(name) or {}
        found += [f"  {key}: {value}" for key, value in facts.items() if value is not None]
    found += [
        f"  failed {one.at}: {one.kind}, {one.message}" + (f" ({one.host})" if one.host else "")
        for one in failures.failures(folder.path, since_retry=False)
    ]
    found += [f"  log: {path}" for path in logs(folder)]
    trace = folder.path / "traceback.txt"
    return found + (trace.read_text(encoding="utf-8").splitlines() if trace.exists() else [])


def logs(folder: RunFolder) -> list[Path]:
    """The logs of the jobs that were given the run, the newest last."""
    found = []
    for launch in launches.launches(Study(folder.path.parent)):
        given = [job for job, runs in launch.jobs.items() if folder.run_id in runs]
        found += [path for job in given for path in sorted(launch.folder.glob(f"{job}_*log.out"))]
    return found
