"""A study while it trains and when it has ended: status and its --watch, the page of `saescale watch`, the plan."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from sweeps.dispatch import phases
from sweeps.dispatch.launch import write_runs
from sweeps.dispatch.states import progress_text, states
from sweeps.ledger import failures, launches
from sweeps.ledger.claims import claim, holding
from sweeps.ledger.run_folder import Status
from sweeps.planning.phased import make_plans
from sweeps.planning.plan import make_plan
from sweeps.verbs import watch
from sweeps.verbs.cli import main
from sweeps.verbs.status import QUIET_S, Watched
from tests.sweeps.dispatch.phase_study import PhaseStudy


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (
            {"state": "done", "ended_by": "converged", "tokens": 441_344},
            "converged at 441,344 of at most 2,000,000",
        ),
        ({"state": "done", "ended_by": "predicted", "tokens": 99}, "L∞ predicted at 99 of at most 2,000,000"),
        ({"state": "done", "ended_by": "budget", "tokens": 2_000_000}, "all 2,000,000"),
        ({"state": "diverged", "tokens": 4096}, "diverged at 4,096 of 2,000,000"),
        ({"state": "running", "stop": "converged", "tokens": 441_344}, "441,344 of at most 2,000,000"),
        ({"state": "running", "stop": "budget", "tokens": 500_000}, "500,000 of 2,000,000 (25 %)"),
        ({"state": "failed (nan)", "stop": "budget", "tokens": 0}, "0 of 2,000,000 (0 %)"),
        ({"state": "unreadable", "budget": None, "tokens": 5}, "5"),
    ],
)
def test_progress_never_shows_a_share_of_a_budget_that_a_run_need_not_use(row, text):
    assert progress_text({"budget": 2_000_000, **row}) == text


@pytest.fixture
def study(tiny):
    """Two runs: one that trains, as far as its folder says, and one that waits."""
    plan = make_plan(tiny("sae.k=2,4"))
    write_runs(plan)
    return plan


def set_all(study, state):
    for folder in study.runs():
        folder.set_status(replace(folder.status(), state=state, tokens=4096))


def test_watch_of_status_ends_when_every_run_has(study, tiny, monkeypatch, capsys):
    naps = []

    def sleep(seconds):
        naps.append(seconds)
        if len(naps) == 2:
            set_all(study.study, "done")
        assert len(naps) < 3, "it goes on after the study has ended"

    monkeypatch.setattr("sweeps.verbs.status.time", SimpleNamespace(sleep=sleep, monotonic=lambda: 0.0))
    assert main(["status", str(study.study.path), "--watch"]) == 0
    assert len(naps) == 2 and "2 done" in capsys.readouterr().out
    # The plan of a study that has ended says so, and costs nothing.
    overrides = tiny("sae.k=2,4")
    assert main(["plan", *overrides]) == 0
    out = capsys.readouterr().out
    assert "finished: every run has its result; it took 8,192 of at most" in out
    assert "Next: saescale collect" in out and "Launch with" not in out and "0.0e+00" not in out
    assert main(["plan", *overrides, "--json"]) == 0
    (content,) = json.loads(capsys.readouterr().out)
    assert (content["runs"], content["to_train"], len(content["of_runs"])) == (2, 0, 2)
    assert main(["plan", *overrides, "-q"]) == 0 and capsys.readouterr() == ("", "")


def test_status_as_json_has_a_row_for_each_run(study, capsys):
    study.study.runs()[0].set_status(Status("failed", tokens=4, failure="nan", message="diverged [at once]"))
    assert main(["status", str(study.study.path), "--json", "-q"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert content["states"] == {"failed (nan)": 1, "pending": 1}
    first, second = content["runs"]
    assert (first["tokens"], first["message"], second["rate"]) == (4, "diverged [at once]", None)


def test_the_page_of_watch_reloads_itself_until_the_study_ends(study, monkeypatch, capsys):
    path = study.study.path
    pages = []

    def sleep(seconds):
        pages.append((path / "live.html").read_text())
        set_all(study.study, "done")

    clock = SimpleNamespace(sleep=sleep, process_time=lambda: 0.0)
    monkeypatch.setattr(watch, "time", clock)
    assert main(["watch", str(path), "--every", "7"]) == 0
    assert "it reloads itself every 7 s" in capsys.readouterr().out
    (first,) = pages
    assert '<meta http-equiv="refresh" content="7">' in first and "<li>2 pending</li>" in first
    assert "No law yet" in first
    last = (path / "live.html").read_text()
    assert 'http-equiv="refresh"' not in last and not (path / "fits.json").exists()


def test_the_pace_is_what_the_running_runs_do_and_hours_are_a_bound_where_runs_converge():
    import pandas as pd

    rows = {"state": ["running", "running", "pending", "done"], "rate": [100.0, 300.0, None, None]}
    rows |= {"tokens": [1000, 0, 0, 5], "budget": [2000, 2000, 2000, 2000]}
    frame = pd.DataFrame({**rows, "stop": "budget"})
    assert list(watch._pace(frame)) == ["400 tokens/s in 2 runs; 0:12 left at this pace"]
    frame["stop"] = "converged"
    assert list(watch._pace(frame)) == ["400 tokens/s in 2 runs; at most 0:12 left at this pace"]
    assert list(watch._pace(frame[frame.state == "done"])) == []
    frame["state"] = ["running", "running", "failed (oom)", "stopped"]
    (line,) = watch._pace(frame)
    assert (
        line == "400 tokens/s in 2 runs; at most 0:08 left at this pace, without the 2 that failed or stopped"
    )


@pytest.mark.parametrize(
    ("verb", "state"),
    [
        (["status", "--watch"], "pending"),
        (["status", "--watch"], "failed"),
        (["watch", "--every", "60"], "running"),
    ],
)
def test_watching_ends_where_nobody_works_on_the_study(verb, state, study, monkeypatch, capsys):
    """Not at once, since a launch may be starting its workers; a run whose worker is gone counts as stopped."""
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds
        assert now[0] < 300, "it goes on though nobody works on the study"

    clock = SimpleNamespace(sleep=sleep, monotonic=lambda: now[0], process_time=lambda: 0.0)
    monkeypatch.setattr("sweeps.verbs.status.time", clock)
    monkeypatch.setattr(watch, "time", clock)
    for folder in study.study.runs():
        folder.set_status(Status(state, tokens=4096, failure="oom" if state == "failed" else None))
        if state == "failed":
            failures.record(folder, failures.Failure("oom", "no memory"))
    code = main([verb[0], str(study.study.path), *verb[1:]])
    assert code == (0 if state == "pending" else 1)
    shown = {"pending": "2 pending", "running": "2 stopped", "failed": "2 failed (oom)"}[state]
    assert 120 <= now[0] < 130 and f"not all have ended ({shown}): saescale launch" in capsys.readouterr().out


def test_a_run_that_failed_for_good_has_ended_and_a_held_one_goes_on(study, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("sweeps.verbs.status.time", SimpleNamespace(monotonic=lambda: now[0]))
    watched, (first, second) = Watched(study.study), study.study.runs()
    first.set_status(Status("failed", failure="bug"))
    failures.record(first, failures.Failure("bug", "an error"))
    held = claim(second, lease_s=1000.0)
    now[0] = 500.0
    assert watched.over(states(study.study)) is None
    held.release()
    now[0] = 700.0
    assert "1 failed (bug), 1 pending" in watched.over(states(study.study))
    second.set_status(Status("done"))
    assert watched.over(states(study.study)) == "every run has ended"


@pytest.fixture
def two(tmp_path):
    """A study of the phases tune and main, of which tune has begun and ended."""
    study = PhaseStudy(tmp_path)
    tune = make_plans(study.overrides())[0]
    phases.begin(tune)
    study.end(tune)
    return study


def test_watching_goes_on_between_phases(two, monkeypatch, capsys):
    """It ends with the last phase: neither while the laws of the first are fitted, nor before the second has runs."""
    tune = make_plans(two.overrides())[0]
    naps = []

    def sleep(seconds):
        naps.append(seconds)
        two.fit(tune)
        main_plan = make_plans(two.overrides())[1]
        match len(naps):
            case 1:
                phases.begin(main_plan)
            case 2:
                write_runs(main_plan)
            case 3:
                two.end(main_plan)

    monkeypatch.setattr("sweeps.verbs.status.time", SimpleNamespace(sleep=sleep, monotonic=lambda: 0.0))
    assert main(["status", str(tune.study.path)]) == 0
    assert "15 done\nphase to come: main" in capsys.readouterr().out
    assert main(["status", str(tune.study.path), "--watch"]) == 0
    out = capsys.readouterr().out
    assert len(naps) == 3 and "Every run has ended." in out and "to come" not in out


def test_a_study_whose_next_phase_nobody_begins_is_watched_no_longer(two, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("sweeps.verbs.status.time", SimpleNamespace(monotonic=lambda: now[0]))
    plan = make_plans(two.overrides())[0]
    watched, frame = Watched(plan.study), states(plan.study)

    def later(seconds):
        now[0] += seconds
        return watched.over(frame)

    assert later(QUIET_S - 1) is None
    with holding(plan.folder.claimed):  # a launch fits its laws
        assert later(2 * QUIET_S) is None and later(2 * QUIET_S) is None
    assert later(QUIET_S - 1) is None and not list(plan.folder.path.glob("claim-*"))
    launches.record(launches.new_folder(plan.study), launches.PLANNER, ["study=two"], {"7": []})
    monkeypatch.setattr("sweeps.dispatch.planner.living", lambda study: "7")  # a job is to go on
    assert later(2 * QUIET_S) is None
    monkeypatch.setattr("sweeps.dispatch.planner.living", lambda study: None)
    assert later(QUIET_S + 1) == (
        "for 120 s no run trained, waited in a queue or was held by a worker, and all runs have ended but not all "
        "phases have begun (to come: main): saescale launch goes on with them"
    )


def test_a_study_that_stopped_at_its_budget_has_nothing_more_to_watch(two):
    tune = make_plans(two.overrides())[0]
    phases.stop(tune, "it would cost more than its budget.")
    assert Watched(tune.study).over(states(tune.study)) == (
        "every run has ended, and the study stopped at its phase tune: it would cost more than its budget."
    )


def test_a_launch_holds_a_phase_while_it_fits_it(two, monkeypatch):
    tune = make_plans(two.overrides())[0]
    held = []

    def close(plan, later, say):
        held.extend(plan.folder.path.glob("claim-*"))

    monkeypatch.setattr(phases, "close", close)
    assert phases.advance(two.overrides(), lambda plan: 0, lambda plan: "", lambda line: None) == 0
    assert len(held) == 1 and not list(tune.folder.path.glob("claim-*"))


def test_watch_of_a_study_that_has_ended_promises_no_reload_and_takes_no_folder(study, tmp_path, capsys):
    set_all(study.study, "done")
    assert main(["watch", str(study.study.path), "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        f"saescale watch: --out {tmp_path} is a folder: name the file of the page, as {tmp_path / 'live.html'}.\n"
    )
    assert main(["watch", str(study.study.path)]) == 0
    out = capsys.readouterr().out
    assert "reloads itself" not in out and "live.html is complete" in out


def test_status_of_one_run_as_json(study, capsys):
    run = study.study.runs()[0]
    failures.record(run, failures.Failure("nan", "diverged [at once]"))
    assert main(["status", str(study.study.path), run.run_id, "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)["runs"]
    assert (facts["path"], facts["state"]) == (str(run.path), "pending")
    assert facts["failures"][0]["message"] == "diverged [at once]"
    assert main(["status", str(study.study.path), run.run_id, "--watch"]) == 1
    assert "leave out the run ids" in capsys.readouterr().err
