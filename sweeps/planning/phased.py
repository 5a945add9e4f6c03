"""The plans of all phases in order: each with the laws of those before it, as far as these have been fitted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sweeps.config.phases import Earlier, steps
from sweeps.ledger.phase_record import Taken, difference, results
from sweeps.ledger.run_folder import ENDED
from sweeps.planning.plan import Plan, make_plan
from sweeps.rules.rule import check_varied


@dataclass(frozen=True)
class Stale:
    """Runs that a phase was launched with and no longer has, or may lose; and why, a sentence for each reason."""

    runs: tuple[str, ...]
    reasons: tuple[str, ...]


def make_plans(overrides: Sequence[str]) -> list[Plan]:
    """A plan for each study and phase of a command line, in order. Raises SweepError where one is impossible.

    The plan of a phase whose earlier phase is not fitted uses guesses, and says so in `grid.waiting`.
    """
    plans: list[Plan] = []
    earlier: dict[str, Earlier] = {}
    of_phase: dict[str, Plan] = {}
    every = steps(overrides)
    for number, step in enumerate(every):
        if step.phase is None:
            plans.append(make_plan(step.overrides, composed=step.composed))
            continue
        if plans and plans[-1].overrides != step.overrides:  # another study
            earlier, of_phase = {}, {}
        plan = make_plan(step.overrides, step.phase, earlier, step.composed)
        after = (other for other in every[number + 1 :] if other.overrides == step.overrides)
        plan = replace(plan, later=tuple(other.phase for other in after if other.phase is not None))
        for spec in plan.grid.specs.values():
            if spec.source is not None:
                check_varied(step.phase, spec, _varied(of_phase[spec.source]))
        earlier[step.phase], of_phase[step.phase] = _earlier(plan), plan
        plans.append(plan)
    return plans


def _varied(plan: Plan) -> dict[str, list[float]]:
    configs = [run.config for run in plan.runs]
    return {
        "n_latents": [one.sae.n_latents for one in configs],
        "lr": [one.train.lr for one in configs],
    }


def _earlier(plan: Plan) -> Earlier:
    """How far a phase has come, for the phases after it."""
    now = results(plan.study, [run.run_id for run in plan.runs])
    left = sum(plan.states.get(run.run_id) not in ENDED for run in plan.runs)
    fitted = plan.folder.fitted()
    if left:
        pending: str | None = f"{left} run{'s' * (left != 1)} to train"
    elif plan.grid.waiting:
        pending = "itself waiting"
    elif fitted is None:
        pending = "to be fitted"
    else:
        changed = difference(fitted, now)
        pending = changed and f"to be fitted again: {changed}"
    largest = max(run.config.sae.n_latents for run in plan.runs)
    assert plan.phase is not None
    return Earlier(plan.phase, plan.folder.fits, now, pending, largest, plan.folder.laws())


def stale(plan: Plan) -> Stale | None:
    """The runs of a phase that rest on what is no longer so, None if it was not launched or nothing has changed."""
    before = plan.folder.record() if plan.phase is not None else None
    if before is None:
        return None
    now = plan.record
    reasons = [
        f"the rule of {key} was {before.rules.get(key, 'none')} and is {now.rules.get(key, 'none')}"
        for key in dict.fromkeys([*before.rules, *now.rules])
        if before.rules.get(key) != now.rules.get(key)
    ]
    for phase, runs in now.inputs.items():
        changed = difference(before.inputs.get(phase, {}), runs)
        if changed:
            reasons.append(f"{phase} has {changed}")
    gone = tuple(run for run in before.runs if run not in now.runs)
    if plan.grid.waiting and reasons:
        return Stale(before.runs, tuple(reasons))
    if not gone:
        return None
    reasons += _moved(before.taken, now.taken)
    return Stale(gone, tuple(reasons) or ("the grid of the phase is another",))


def _moved(before: Sequence[Taken], now: Sequence[Taken]) -> list[str]:
    """A phrase for each key whose value has moved, with the value that moved most."""
    known = {(one.key, *sorted(one.at.items())): one for one in before}
    moved: dict[str, str] = {}
    for one in now:
        old = known.get((one.key, *sorted(one.at.items())))
        if old is not None and old.value != one.value:
            at = ", ".join(f"{name}={value}" for name, value in one.at.items())
            moved.setdefault(one.key, f"{one.key} at {at} was {_short(old.value)} and is {_short(one.value)}")
    return list(moved.values())


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
