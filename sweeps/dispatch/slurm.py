"""SLURM, through submitit and SLURM's own commands: submit arrays, ask for the state of jobs, cancel them."""

import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError

from sweeps.config.launcher import Launcher
from sweeps.errors import SweepError
from sweeps.ledger.job_environment import STARTED

# Errors of sbatch, squeue and sacct from a controller that is down, restarting or overloaded. Others are answers.
_SILENT = (
    "Unable to contact slurm controller",
    "Connection refused",
    "Connection timed out",
    "Socket timed out",
    "Unable to establish controller machine",
    "slurm_persist_conn_open",
    "try again",
    "Zero Bytes were transmitted",
)
# sacct's states of a job that will not run again. NODE_FAIL and PREEMPTED may be requeued: then squeue has them.
FINAL = (
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "TIMEOUT",
)
# The first Python of a job: it holds SLURM's signals back and becomes the worker, whose `stoppable` lets them in.
# Without it a signal while submitit and torch are imported kills a job, which fails, and which nobody requeues.
_HOLD_SIGNALS = (
    "import os, signal, sys, time; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, signal.SIGTERM}); "
    f'os.environ["{STARTED}"] = str(time.time()); '
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
_MOST_JOBS = 1001  # SLURM's default MaxArraySize


@dataclass(frozen=True)
class JobState:
    """How a job stands.

    state: as SLURM names it. live: queued or running, or about to be again. reason: why it waits, or its exit code.
    nodes: where it ran. elapsed_s, limit_s: how long it ran and might have run; None where unknown.
    """

    state: str
    live: bool
    reason: str = ""
    nodes: str = ""
    elapsed_s: int | None = None
    limit_s: int | None = None


def available() -> bool:
    """Whether this machine has SLURM's commands."""
    return shutil.which("sbatch") is not None and shutil.which("squeue") is not None


def check(patience_s: float) -> None:
    """Raise SweepError unless sbatch exists and the controller answers within `patience_s`."""
    if not available():
        raise SweepError("launcher.kind is slurm, and this machine has no sbatch: launch from a login node.")
    _patiently(lambda: _asked("squeue", "--noheader", "--me"), patience_s)


def executor(launcher: Launcher, folder: Path, name: str, code: Path | None) -> submitit.SlurmExecutor:
    """submitit's executor for the jobs of this launcher. code: the snapshot of the code that they import."""
    ask = launcher.slurm
    python = ask.python or shlex.quote(sys.executable)
    found = submitit.SlurmExecutor(folder=folder, python=f"{python} -ISc {shlex.quote(_HOLD_SIGNALS)}")
    same = (
        "partition",
        "account",
        "qos",
        "constraint",
        "nodelist",
        "exclude",
        "gpus_per_node",
        "cpus_per_task",
    )
    found.update_parameters(
        job_name=name,
        time=launcher.timeout_min,
        nodes=1,
        ntasks_per_node=1,
        signal_delay_s=ask.signal_s,
        array_parallelism=launcher.workers,
        setup=[*ask.setup, *_environment(launcher, code)],
        use_srun=ask.use_srun,
        srun_args=ask.srun_args,
        stderr_to_stdout=True,
        additional_parameters={"requeue": True, **ask.sbatch},
        **{key: value for key in same if (value := getattr(ask, key)) is not None},
    )
    if ask.mem_gb is not None:
        found.update_parameters(mem=f"{round(ask.mem_gb * 1024)}MB")
    return found


def _environment(launcher: Launcher, code: Path | None) -> list[str]:
    """Shell lines: the snapshot first on the path, before the folder that the launch was typed in."""
    lines = [f"export OMP_NUM_THREADS={launcher.threads} OMP_WAIT_POLICY=passive"]
    if code is not None:
        lines.append(f"export PYTHONSAFEPATH=1 PYTHONPATH={shlex.quote(str(code))}:${{PYTHONPATH:-}}")
    return lines


def script(launcher: Launcher, folder: Path, name: str, jobs: int) -> str:
    """The script that sbatch would get for an array of `jobs` jobs."""
    one = executor(launcher, folder, name, folder / "code")
    if jobs > 1:
        one.parameters["map_count"] = jobs
    return str(one._make_submission_file_text(one._submitit_command_str, "dry-run"))


def submit(
    found: submitit.SlurmExecutor,
    calls: Sequence[tuple[Any, ...]],
    function: Callable[..., Any],
    patience_s: float,
) -> list[str]:
    """One job a call, function(*call), as arrays no longer than the site allows; their ids in order.

    A controller that does not answer is asked again for `patience_s`. SweepError with sbatch's words if it refuses.
    """
    most = _longest_array()
    ids: list[str] = []
    for start in range(0, len(calls), most):
        columns = zip(*calls[start : start + most], strict=True)
        jobs = _patiently(partial(found.map_array, function, *columns), patience_s)
        ids += [str(job.job_id) for job in jobs]
    return ids


def _patiently(ask: Callable[[], Any], patience_s: float) -> Any:
    """Call `ask` until the controller answers, for at most `patience_s`."""
    until, pause = time.monotonic() + patience_s, 2.0
    while True:
        try:
            return ask()
        except (FailedJobError, FailedSubmissionError, SweepError) as error:
            text = " ".join(str(error).split())
            if not silent(text):
                raise SweepError(f"SLURM refused: {_words(text)}") from error
            if time.monotonic() > until:
                raise SweepError(f"SLURM did not answer for {patience_s:g} s: {_words(text)}") from error
            print("SLURM does not answer; asking again.", flush=True)
            time.sleep(pause)
            pause = min(2 * pause, 30.0)


def silent(text: str) -> bool:
    """Whether an error says that the controller did not answer, and not that it refused."""
    return any(words.lower() in text.lower() for words in _SILENT)


def _words(text: str) -> str:
    """sbatch's own error in submitit's report of it."""
    at = text.rfind("sbatch: error:")
    return text[at:][:300] if at >= 0 else text[-300:]


def _longest_array() -> int:
    """MaxArraySize limits the highest index + 1."""
    for line in _asked("scontrol", "show", "config").splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "MaxArraySize":
            return max(1, int(value) - 1)
    return _MOST_JOBS


def states(ids: Iterable[str]) -> dict[str, JobState]:
    """The states of jobs, from one call of squeue for those in the queue and one of sacct for the rest.

    sacct is up to 5 s behind the controller (measured), so a job that has left squeue may still be RUNNING there. Jobs
    that neither knows are left out. SweepError when the controller does not answer.
    """
    wanted = set(ids)
    if not wanted:
        return {}
    found: dict[str, JobState] = {}
    for line in _asked("squeue", "--noheader", "--array", "--me", "--format=%i|%T|%r|%N").splitlines():
        job, state, reason, nodes = line.split("|")
        if job in wanted:
            found[job] = JobState(state, True, "" if reason == "None" else reason, nodes)
    rest = wanted - found.keys()
    return found | (_ended(rest) if rest else {})


def _ended(ids: set[str]) -> dict[str, JobState]:
    arrays = ",".join(sorted({job.partition("_")[0] for job in ids}))
    fields = "--format=JobID,State,ExitCode,NodeList,End,ElapsedRaw,TimelimitRaw"
    try:
        text = _asked("sacct", "--noheader", "--allocations", "--parsable2", "--jobs", arrays, fields)
    except SweepError:  # no accounting here, so how a job ended cannot be known
        return {}
    found = {}
    for line in text.splitlines():
        job, state, code, nodes, end, elapsed_s, limit_min = line.split("|")
        word = state.split()[0]
        if job in ids:
            # FAILED without an end was seen to be rewritten a moment later, with another exit code.
            live = word not in FINAL or end == "Unknown"
            where = "" if nodes == "None assigned" else nodes
            limit_s = int(limit_min) * 60 if limit_min.isdigit() else None  # or UNLIMITED, Partition_Limit
            found[job] = JobState(word, live, code, where, int(elapsed_s), limit_s)
    return found


def cancel(ids: Sequence[str]) -> None:
    """Cancel jobs with scancel, which ignores those that have ended."""
    if ids:
        _asked("scancel", *ids)


def _asked(*command: str) -> str:
    """A SLURM command's output; SweepError with its words if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SweepError(f"{command[0]} cannot be asked: {error}") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
        raise SweepError(f"{command[0]} of slurm: {said[-1]}")
    return done.stdout
