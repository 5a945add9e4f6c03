"""The benchmark of the verbs that only look: it plans and shows a study, and fails where a goal is missed."""

import json

from benchmarks import cli


def test_both_times_are_measured_and_a_missed_goal_is_exit_code_1(capsys, monkeypatch):
    assert cli.main(["--seeds", "2", "--rounds", "1", "--no-record"]) in (
        0,
        1,
    )  # a busy machine may miss the goal
    row = json.loads(capsys.readouterr().out.splitlines()[0])
    assert row["plan_runs"] == 2 * cli.RUNS and row["status_cpu_s"] > 0 and row["plan_cpu_s"] > 0
    monkeypatch.setattr(cli, "measure", lambda *_: {"status_cpu_s": 1.2, "plan_cpu_s": 3.0, "plan_runs": 42})
    monkeypatch.setattr(cli, "_python", lambda *_: "")
    assert cli.main(["--no-record"]) == 1 and "1.20 CPU s (goal 1)" in capsys.readouterr().out
