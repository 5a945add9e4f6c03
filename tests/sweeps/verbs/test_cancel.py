"""Cancelling and retrying runs, by name or by condition, without SLURM."""

from dataclasses import replace

import pytest

from sae_core.training.run import Run
from sweeps.dispatch.launch import missing, write_runs
from sweeps.ledger import failures
from sweeps.ledger.claims import claim
from sweeps.ledger.run_folder import Status
from sweeps.planning.plan import make_plan
from sweeps.verbs import cancel as cancel_module
from sweeps.verbs import retry as retry_module
from sweeps.verbs.arguments import runs_named
from sweeps.worker.worker import work


@pytest.fixture
def study(tiny, monkeypatch):
    monkeypatch.setattr("sweeps.dispatch.slurm.available", lambda: False)
    plan = make_plan(tiny("sae.k=2,3", "seed=0,1", "launcher=debug"))
    write_runs(plan)
    return plan


def folders(plan):
    return {(run.config.sae.k, run.config.seed): plan.study.run(run.run_id) for run in plan.runs}


def test_by_condition_by_name_and_all(study, capsys):
    runs, path = folders(study), str(study.study.path)
    runs[2, 0].set_status(Status("done", 1024))
    assert cancel_module.main([path, "where=k == 3 and seed == 0"]) == 0
    assert "1 runs cancelled" in capsys.readouterr().out
    assert cancel_module.main([path, runs[3, 1].run_id]) == 0
    assert {key: folder.status().state for key, folder in runs.items()} == {
        (2, 0): "done",
        (2, 1): "pending",
        (3, 0): "cancelled",
        (3, 1): "cancelled",
    }
    assert cancel_module.main([path]) == 0
    assert "1 runs cancelled, 3 had ended" in capsys.readouterr().out
    assert missing(study) == []


def test_conditions_speak_of_the_columns_of_runs_parquet(study, capsys):
    runs, path = folders(study), str(study.study.path)
    runs[2, 0].set_status(Status("failed", 64, failure="bug", message="KeyError: 1"))
    (runs[3, 1].path / "config.yaml").write_text("{: [")  # unreadable: none of its settings is known
    for condition, chosen in (
        ("failure == 'bug' and k in [2, 3]", [runs[2, 0]]),
        ("n_latents >= 4 * sqrt(k) and not state == 'failed'", [runs[2, 1], runs[3, 0]]),
        ("state == 'unreadable' and k is missing", [runs[3, 1]]),
    ):
        assert selected([path, f"where={condition}"]) == {folder.run_id for folder in chosen}
    assert cancel_module.main([path, "where=n_latent > 3"]) == 1
    said = capsys.readouterr().err
    assert (
        "'n_latent > 3' names n_latent, which is not a column here" in said
        and "Did you mean n_latents?" in said
    )


def selected(given):
    return {folder.run_id for folder in runs_named(given)[1]}


def test_a_running_one_is_saved_and_left_and_the_others_go_on(study, monkeypatch):
    runs, step = folders(study), Run.step

    def cancel_one(run, x, *more):
        if run.steps == 5:
            (runs[2, 1].path / "cancel").touch()
        step(run, x, *more)

    monkeypatch.setattr(Run, "step", cancel_one)
    ids = [run.run_id for run in study.runs]
    states = work(str(study.study.path), ids, replace(study.launcher, heartbeat_s=1e-9))
    assert states[runs[2, 1].run_id] == "cancelled" and sorted(states.values()) == [
        "cancelled",
        *["done"] * 3,
    ]
    assert runs[2, 1].status().tokens > 0 and list(runs[2, 1].checkpoints.glob("step-*"))


def test_runs_that_a_grid_does_not_have_any_more(study, tiny):
    runs = folders(study)
    assert cancel_module.main([*tiny("sae.k=2", "seed=0,1"), "--not-in-grid"]) == 0
    assert {k for (k, _), folder in runs.items() if folder.status().state == "cancelled"} == {3}


def test_retry_revives_failed_and_cancelled_runs_and_launches(study, capsys):
    runs = folders(study)
    runs[2, 0].set_status(Status("failed", 64, "bug", "KeyError"))
    failures.record(runs[2, 0], failures.Failure("bug", "KeyError"))
    assert not failures.may_retry(runs[2, 0], {})
    cancel_module.main([str(study.study.path), runs[2, 1].run_id])
    other = claim(runs[3, 0], 60)
    assert retry_module.main([str(study.study.path)]) == 0
    assert "2 runs will be tried again" in capsys.readouterr().out
    assert [runs[2, i].status().state for i in (0, 1)] == ["pending"] * 2 and not runs[2, 1].cancelled
    assert runs[2, 0].status().tokens == 64 and failures.may_retry(runs[2, 0], {})
    other.release()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["000000000000"], "no run 000000000000"), (["where=nn > 2"], "nn"), (["where=import os"], "import os")],
)
def test_bad_selections_are_sentences(study, capsys, arguments, says):
    assert cancel_module.main([str(study.study.path), *arguments]) == 1
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1
    assert all(folder.status().state == "pending" for folder in folders(study).values())
