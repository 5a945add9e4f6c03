"""The SLURM job that this process is in."""

import os

STARTED = "SAESCALE_JOB_STARTED"  # set by the first Python of a job, see sweeps/dispatch/slurm.py


def slurm_job() -> str | None:
    """The SLURM job that this process is in, `123_4` for a task of an array; None outside of SLURM."""
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ.get("SLURM_JOB_ID")


def restarts() -> int:
    """How often SLURM has requeued this job."""
    return int(os.environ.get("SLURM_RESTART_COUNT") or 0)


def job_started() -> float | None:
    """When this round of the job began, in seconds since the epoch; None where neither SLURM nor the job says.

    SLURM_JOB_START_TIME counts the job's setup lines too, but SLURM 22.05 does not set it (measured).
    """
    known = os.environ.get("SLURM_JOB_START_TIME") or os.environ.get(STARTED)
    return float(known) if known else None
