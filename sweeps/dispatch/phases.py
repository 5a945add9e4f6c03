"""Phases one after another: launch each, and when its runs have ended, fit its laws, from which the next takes values.

Every step is idempotent: what has been done is found in the ledger, so that the same call goes on wherever an earlier
one was interrupted.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from fit.law.errors import FitError
from sweeps.config.earlier_fit import FITS
from sweeps.errors import SweepError
from sweeps.ledger.claims import holding
from sweeps.ledger.phase_record import results
from sweeps.ledger.run_folder import ENDED
from sweeps.ledger.tables import write_tables
from sweeps.planning.phased import make_plans, stale
from sweeps.planning.plan import Plan


def advance(
    overrides: Sequence[str],
    start: Callable[[Plan], int],
    hand_over: Callable[[Plan], str],
    say: Callable[[str], None] = print,
) -> int:
    """Launch the phases in order, each when the one before has ended and been fitted. Returns an exit code.

    Parameters
    ----------
    overrides : the studies and their overrides.
    start : launches one plan and returns an exit code, not 0 where the phases cannot go on.
    hand_over : called for a phase that has been started and has not ended; returns a sentence on who goes on.
    say : called with each line for the user.

    Raises
    ------
    SweepError
        Before any job for a study that cannot be carried out, and where it stops at its budget.
    """
    plans = make_plans(overrides)
    for number in range(len(plans)):
        plan = plans[number]
        if len(plans) > 1:
            say(f"phase {number + 1} of {len(plans)}{f': {plan.phase}' if plan.phase else ''}")
        code = start(plan)
        if code or number == len(plans) - 1:
            return code
        if not finished(plan):
            say(hand_over(plan))
            return 0
        with holding(plan.folder.claimed) if plan.phase is not None else nullcontext():
            if (path := close(plan, plans[number + 1 :], say)) is not None:
                say(f"wrote {path}")
            plans = make_plans(overrides)
    return 0


def is_taken_from(plan: Plan, later: Sequence[Plan]) -> bool:
    """Whether later phases take values from the laws of this one. Of studies without phases nobody knows: yes."""
    specs = (spec for one in later for spec in one.grid.specs.values())
    return plan.phase is None or any(
        spec.source == plan.phase and not spec.definition.of_axis for spec in specs
    )


def begin(plan: Plan) -> None:
    """Check that a plan may be launched, and write what its phase is launched with.

    SweepError where it waits for an earlier phase or costs more than the budget; the record then says so too.
    """
    if plan.phase is None:
        plan.check_ready()
        plan.check_budget()
        return
    before = plan.folder.record()
    record = plan.record if before is None else replace(plan.record, replaced=before.replaced)
    try:
        plan.check_ready()
        plan.check_budget()
    except SweepError as error:
        if before is not None or plan.hours_spent:  # nothing is written for a study that never began
            plan.folder.set_record(replace(before or record, stopped=str(error)))
        raise
    if (old := stale(plan)) is not None:
        reason = "; ".join(old.reasons)
        record = replace(record, replaced={**record.replaced, **dict.fromkeys(old.runs, reason)})
    now = {run: reason for run, reason in record.replaced.items() if run not in record.runs}
    plan.folder.set_record(replace(record, replaced=now))


def stop(plan: Plan, reason: str) -> None:
    """Write down why a study goes no further than this phase, for `plan` and `status`."""
    if plan.phase is not None:
        plan.folder.set_record(replace(plan.folder.record() or plan.record, stopped=reason))


def finished(plan: Plan) -> bool:
    """Whether every run of the phase has its result."""
    return all(plan.study.run(run.run_id).status().state in ENDED for run in plan.runs)


def close(plan: Plan, later: Sequence[Plan] = (), say: Callable[[str], None] = print) -> Path | None:
    """Collect and fit what has ended, so that later phases can use its laws. Returns the path of the laws, if any.

    A phase whose runs are those that its laws were fitted to is left as it is, unless a rule that came later asks for
    a law that was not tried; the laws that it has are fitted again with it. SweepError if no law can be fitted.

    Parameters
    ----------
    plan : a phase, or a study without phases, whose runs have all ended.
    later : the plans after it: a phase that none of them takes from is not fitted.
    say : called with a sentence for each law that is skipped.
    """
    if plan.phase is None:
        return _fit(write_tables(plan.study)[0], plan.study.path / FITS, say)
    ids, needed = sorted(run.run_id for run in plan.runs), is_taken_from(plan, later)
    now, fits = results(plan.study, ids), plan.folder.fits
    laws = _further_laws(plan, later)
    if plan.folder.fitted() != now or needed and (not fits.exists() or set(laws) - set(plan.folder.laws())):
        plan.folder.path.mkdir(parents=True, exist_ok=True)
        runs = write_tables(plan.study, plan.folder.path, ids)[0]
        if needed:
            _fit(runs, fits, say, laws)
        else:
            fits.unlink(missing_ok=True)  # of other runs
        plan.folder.set_fitted(now, laws)
    return fits if needed else None


def _further_laws(plan: Plan, later: Sequence[Plan]) -> tuple[str, ...]:
    """The laws beyond the default ones that rules of later phases take from this one."""
    specs = (spec for one in later for spec in one.grid.specs.values() if spec.source == plan.phase)
    return tuple(dict.fromkeys(law for spec in specs for law in spec.laws))


def _fit(runs: Path, fits: Path, say: Callable[[str], None], also: Sequence[str] = ()) -> Path:
    # Here, since a plan only splits its phases: scipy would double its time to start.
    from fit.study import fit_study
    from fit.study.fits_file import write_json
    from fit.study.study_tables import StudyTables

    try:
        tables = StudyTables.read(runs, with_fits=False)
        assert tables.runs is not None
        found = fit_study(tables.runs, tables.curves, say=say, also=also)
    except FitError as error:
        raise SweepError(f"{runs.parent} cannot be fitted, so no phase can follow it: {error}") from error
    return write_json(found.fits, str(runs), fits, found.regimes, tables.made_from)
