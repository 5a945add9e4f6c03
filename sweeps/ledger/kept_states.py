"""The states that ended runs keep, off which later runs branch: `launcher.keep_state`.

Runs with one trunk (`sae_core.training.schedule`) have the same state as long as both are in their constant parts. So a
run whose lr decays need not repeat what an ended run was trained on, if the state of that run lies in its folder, and
goes no further than the constant part of the new run. A run whose lr decays keeps no state: its last one is no other's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sae_core.config import RunConfig
from sae_core.training import checkpoint
from sae_core.training.schedule import trunk
from sweeps.errors import SweepError
from sweeps.ledger.run_folder import Study


@dataclass(frozen=True)
class EndedRun:
    """A run that is done. tokens: of its constant part; kept: whether its state at their end lies in its folder."""

    run_id: str
    tokens: int
    kept: bool


@dataclass(frozen=True)
class EndedRuns:
    """The runs of a study that are done and off which new runs may branch, by trunk."""

    by_trunk: dict[RunConfig, list[EndedRun]]

    def start(self, run: RunConfig) -> EndedRun | None:
        """The ended run off which a new one branches: the one that keeps the latest state of its constant part."""
        states = [one for one in self._passed(run) if one.kept and one.tokens <= run.train.constant_tokens]
        return max(states, key=lambda one: one.tokens, default=None)

    def repeated(self, run: RunConfig) -> int:
        """The tokens that a new run is trained on again because no ended run has kept its state there."""
        start = self.start(run)
        furthest = max((min(one.tokens, run.train.constant_tokens) for one in self._passed(run)), default=0)
        return furthest - (0 if start is None else start.tokens)

    def _passed(self, run: RunConfig) -> Sequence[EndedRun]:
        return self.by_trunk.get(trunk(run), ()) if may_branch(run) else ()


def ended_runs(study: Study, runs: Sequence[RunConfig]) -> EndedRuns:
    """The ended runs off which some of `runs` may branch.

    If none of them decays, only those that keep their states, because only they are worth the time to read configs.
    """
    trunks = {trunk(run) for run in runs if may_branch(run)}
    kept_only = all(run.train.lr_schedule == "constant" for run in runs)
    found: dict[RunConfig, list[EndedRun]] = {}
    for folder in study.runs() if trunks else ():
        steps = checkpoint.newest(folder.checkpoints)
        if kept_only and not steps or folder.status().state != "done":
            continue
        try:
            config = RunConfig.from_dict(folder.config()["run"])
        except (SweepError, TypeError, KeyError):  # `saescale collect` and `status` name it
            continue
        if (key := trunk(config)) in trunks:
            kept = bool(steps) and config.train.lr_schedule == "constant"
            tokens = steps * config.train.batch_tokens if kept else folder.status().tokens
            run = EndedRun(folder.run_id, min(tokens, config.train.constant_tokens), kept)
            found.setdefault(key, []).append(run)
    return EndedRuns(found)


def may_branch(run: RunConfig) -> bool:
    """Whether a run may go on from a state of another: where it stops does not depend on evaluations before that."""
    return run.train.stop == "budget"
