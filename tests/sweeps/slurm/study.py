"""A tiny study on the test cluster: launched by the command line, slowed and broken on purpose, checked to the bit."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import pandas as pd

from sae_core.training.run import CLOCKS
from sweeps.ledger.launches import launches
from sweeps.ledger.run_folder import Study
from tests.conftest import TINY
from tests.sweeps.slurm.cluster import Cluster
from tests.sweeps.slurm.processes import PATIENCE, ClusterError, until

ROOT = Path(__file__).parents[3]
LAUNCHER = [
    "launcher=slurm",
    "launcher.device=cpu",
    "launcher.threads=1",
    "launcher.workers=8",
    "launcher.runs_per_pack=4",
    "launcher.heartbeat_s=0.5",
    "launcher.lease_s=6",
    "launcher.checkpoint_s=1",
    "launcher.slurm.cpus_per_task=1",
    "launcher.slurm.mem_gb=1",
]
# Loaded by every Python of a job before anything else: what a bad node, a bug or a slow GPU would do.
CHAOS = """
import json, os, sys, time
how = json.loads(os.environ.get("CHAOS", "{}")) if os.environ.get("SUBMITIT_EXECUTOR") else {}
time.sleep(how.get("start_s", 0))
while how.get("next_gate") and os.environ["SLURM_JOB_NAME"].endswith("-next") and not os.path.exists(how["next_gate"]):
    time.sleep(0.1)
class SlowDisk:
    def find_spec(name, path=None, target=None):
        if name == "torch":
            time.sleep(how["import_s"])
if "import_s" in how:
    sys.meta_path.insert(0, SlowDisk)
elif how:
    from sae_core.training.run import Run
    step = Run.step
    def chaotic(run, x, *more):
        time.sleep(how.get("slow", 0))
        if run.steps >= 8 and "gate" in how and not os.path.exists(how["gate"]):
            time.sleep(2)
        if run.config.seed == how.get("crash"):
            raise KeyError("surprise")
        if run.config.seed == how.get("kill") and run.steps >= 8:
            os.kill(os.getpid(), 9)
        step(run, x, *more)
    Run.step = chaotic
"""


class TinyStudy:
    """`more`: overrides.

    slow, start_s, import_s: seconds that a step, starting Python or importing torch takes longer. crash, kill: a seed.
    gated: whether steps from a run's ninth on take 2 s more until `open_gate`, so that no run ends before.
    """

    def __init__(
        self, cluster: Cluster, folder: Path, *more: str, gated: bool = False, **chaos: float | str
    ) -> None:
        self.cluster, self.folder, self.gate = cluster, folder, folder / "gate"
        if gated:
            chaos["gate"] = str(self.gate)
        given = {o.split("=", 1)[0] for o in more}
        base = [o for o in (*TINY, *LAUNCHER) if o.split("=", 1)[0] not in given]
        self.overrides = [*base, "name=tiny", *more]
        (folder / "chaos").mkdir()
        (folder / "chaos" / "sitecustomize.py").write_text(CHAOS)
        self.env = cluster.env | {"PYTHONPATH": os.pathsep.join([str(folder / "chaos"), str(ROOT)])}
        self.env["CHAOS"] = json.dumps(chaos)
        self.report = ""  # what `check` found, for the end of the tests

    @property
    def study(self) -> Study:
        return Study(self.folder / "runs" / "tiny")

    def start(self, verb: str, *arguments: str) -> subprocess.Popen[str]:
        """A verb of the command line, in the folder of the study."""
        command = [sys.executable, "-m", "sweeps.verbs.cli", verb, *arguments]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, verb: str, *arguments: str, timeout_s: float = 120) -> tuple[int, str]:
        process = self.start(verb, *arguments)
        out, _ = process.communicate(timeout=PATIENCE * timeout_s)
        return process.returncode, out

    def launch(self, *more: str, expect: int = 0, timeout_s: float = 240) -> str:
        code, out = self.run("launch", *self.overrides, *more, timeout_s=timeout_s)
        assert code == expect, out
        return out

    def states(self) -> dict[int, str]:
        """Seed to the state in the run's folder."""
        return {f.config()["run"]["seed"]: f.status().state for f in self.study.runs()}

    def count(self) -> Counter[str]:
        return Counter(self.states().values())

    def tokens(self) -> int:
        return sum(f.status().tokens for f in self.study.runs())

    def claims(self) -> list[int]:
        """How many workers had each run."""
        return [len(list(f.path.glob("claim-*"))) for f in self.study.runs()]

    def open_gate(self) -> None:
        self.gate.touch()

    def until_trained(self, tokens: int, timeout_s: float = 60) -> None:
        """Wait until the runs have that many tokens together."""
        until(f"{tokens} tokens", lambda: self.tokens() >= tokens, timeout_s)

    def until_states(
        self, wanted: Sequence[str], timeout_s: float = 120, progress: Callable[[], object] = lambda: None
    ) -> None:
        """Wait until every run is in one of these states, for as long as `progress()` changes within `timeout_s`."""
        while True:
            before = progress()
            try:
                until(
                    f"all runs {' or '.join(wanted)}",
                    lambda: set(self.states().values()) <= set(wanted),
                    timeout_s,
                )
                return
            except ClusterError:
                if progress() == before:
                    raise

    def measured_start_s(self) -> float:
        """Seconds from the start of a job to its first token, with the machine as busy as it is now."""
        self.launch("launcher.workers=1", "train.max_tokens=64", "train.first_eval_tokens=64")
        self.until_states(["done"], 120, progress=self.workers)
        (record,) = self.cluster.accounting(self.jobs())
        (folder,) = self.study.runs()
        return folder.status().updated - datetime.fromisoformat(record["Start"]).timestamp()

    def workers(self) -> list[str]:
        """The jobs in the queue."""
        return [job["JobID"] for job in self.cluster.jobs()]

    def pids(self) -> list[int]:
        """The workers that hold a run now."""
        claims = [max(f.path.glob("claim-*")) for f in self.study.runs() if f.status().state == "running"]
        return sorted({int(path.read_text().split()[1]) for path in claims})

    def jobs(self) -> list[str]:
        """Every job that was ever submitted."""
        return [job for launch in launches(self.study) for job in launch.jobs]

    def check(self, count: int) -> pd.DataFrame:
        """The table of runs: none lost, none trained twice, no row wrong, every curve that of an undisturbed run."""
        code, out = self.run("collect", "runs/tiny")
        assert code == 0, out
        runs, curves = (pd.read_parquet(self.study.path / f"{name}.parquet") for name in ("runs", "curves"))
        assert len(runs) == count and set(runs.state) == {"done"}, runs.state.value_counts()
        assert not curves.duplicated(["run_id", "step"]).any()
        calm = self._calm()
        wrong = [f.run_id for f in self.study.runs() if _curve(f) != _curve(calm.run(f.run_id))]
        lost, claims = count - len(runs), sum(self.claims())
        self.report = f"{len(runs)} runs by {claims} claims, {lost} lost, {len(wrong)} wrong"
        assert not wrong
        return runs

    def _calm(self) -> Study:
        """The same runs, trained in one process that nothing happens to."""
        overrides = [o for o in self.overrides if not o.startswith("launcher")]
        command = [
            sys.executable,
            "-m",
            "sweeps.verbs.cli",
            "launch",
            *overrides,
            "launcher=debug",
            "runs=calm",
        ]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run(
            command, cwd=self.folder, env=env, check=True, capture_output=True, timeout=PATIENCE * 300
        )
        return Study(self.folder / "calm" / "tiny")


def _curve(folder) -> list[dict[str, object]]:
    return [{key: value for key, value in row.items() if key not in CLOCKS} for row in folder.curve()]
