"""A worker trains what is free, survives kill -9 to the last bit, and says what went wrong."""

import multiprocessing
import random
import signal
import time
from multiprocessing.process import BaseProcess
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from sae_core.training import checkpoint
from sae_core.training.run import CLOCKS, Run
from sweeps.config.launcher import Launcher
from sweeps.dispatch.cancel import retry
from sweeps.dispatch.launch import launch, write_runs
from sweeps.ledger.claims import claim
from sweeps.ledger.failures import failures
from sweeps.ledger.run_folder import Status, Study
from sweeps.ledger.tables import collect
from sweeps.planning.plan import make_plan
from sweeps.worker import worker
from sweeps.worker.signals import Stop
from sweeps.worker.worker import work


def planned(overrides):
    """The plan, with its run folders written and nothing trained."""
    plan = make_plan([*overrides, "launcher=debug"])
    write_runs(plan)
    return plan, [run.run_id for run in plan.runs]


def curves(study: Study):
    return {
        f.run_id: [{k: v for k, v in r.items() if k not in CLOCKS} for r in f.curve()] for f in study.runs()
    }


def test_trains_everything_once(tiny):
    plan, ids = planned(tiny("sae.k=2,3", "seed=0,1"))
    assert work(str(plan.study.path), ids, plan.launcher) == dict.fromkeys(ids, "done")
    before = curves(plan.study)
    assert work(str(plan.study.path), ids, plan.launcher) == {}
    assert curves(plan.study) == before
    folder = plan.study.runs()[0]
    assert {p.name for p in folder.checkpoints.iterdir()} == {"weights.safetensors"}
    weights = load_file(folder.checkpoints / "weights.safetensors")
    assert torch.allclose(weights["W_dec"].norm(dim=1), torch.ones(32), atol=1e-6)


def test_waits_for_a_run_that_another_holds_and_leaves_it_when_it_ends(tiny, monkeypatch):
    plan, ids = planned(tiny("sae.k=2,3"))
    folder = plan.study.run(ids[0])
    claim(folder, 600)
    looks = []

    def wait(seconds):
        looks.append(seconds)
        if len(looks) == 3:
            folder.set_status(Status("done", 1024))

    # Not time.sleep itself: on a busy machine subprocess sleeps too, while it waits for git.
    monkeypatch.setattr("sweeps.worker.worker.time", SimpleNamespace(sleep=wait))
    assert work(str(plan.study.path), ids, plan.launcher) == {ids[1]: "done"}
    assert looks == [plan.launcher.heartbeat_s] * 3
    assert len(folder.claim_paths()) == 1


def test_takes_over_a_run_whose_holder_fell_silent(tiny):
    plan, ids = planned(tiny())
    folder = plan.study.run(ids[0])
    claim(folder, 0.5)
    assert work(str(plan.study.path), ids, plan.launcher) == {ids[0]: "done"}
    assert len(folder.claim_paths()) == 2


def test_a_loser_writes_nothing_into_the_run_it_lost(tiny, monkeypatch):
    """Another worker takes the run and ends it; then this one's step fails."""
    plan, ids = planned(tiny())
    folder = plan.study.run(ids[0])

    def lost_and_broken(run, x, *more):
        (folder.path / "claim-000002").write_text("elsewhere 1 60\n")
        folder.set_status(Status("done", 1024))
        raise KeyError("late")

    monkeypatch.setattr(Run, "step", lost_and_broken)
    assert work(str(plan.study.path), ids, plan.launcher) == {ids[0]: "taken over"}
    assert folder.status().state == "done" and not (folder.path / "traceback.txt").exists()


def test_a_run_that_ended_just_before_it_was_claimed_keeps_its_one_claim(tiny, monkeypatch):
    plan, ids = planned(tiny())
    folder = plan.study.run(ids[0])
    looks = []

    def ended_after_the_first_look(*_):
        looks.append(folder)
        return len(looks) > 1

    claim(folder, 600).release()
    monkeypatch.setattr("sweeps.worker.worker._over", ended_after_the_first_look)
    assert work(str(plan.study.path), ids, plan.launcher) == {}
    assert len(looks) >= 2 and len(folder.claim_paths()) == 1


def test_a_loser_adds_no_evaluation_to_the_run_it_lost(tiny, monkeypatch):
    plan, ids = planned(tiny())
    folder = plan.study.run(ids[0])
    evaluate = Run.evaluate

    def lost_while_evaluating(run, *rows):
        (folder.path / "claim-000002").write_text("elsewhere 1 60\n")
        return evaluate(run, *rows)

    monkeypatch.setattr(Run, "evaluate", lost_while_evaluating)
    assert work(str(plan.study.path), ids, plan.launcher) == {ids[0]: "taken over"}
    assert folder.curve() == []


def test_a_folder_that_cannot_be_written_fails_alone(tiny):
    plan, ids = planned(tiny("seed=0,1,2"))
    (plan.study.run(ids[1]).path / "checkpoint").write_text("in the way")
    states = work(str(plan.study.path), ids, plan.launcher)
    assert states == {ids[0]: "done", ids[1]: "failed", ids[2]: "done"}
    assert plan.study.run(ids[1]).status().failure == "disk"


def test_gives_a_run_up_that_was_taken_over(tiny, monkeypatch):
    plan, ids = planned(tiny("train.max_tokens=65536"))
    step = Run.step

    def taken_at_step_20(run, x, *more):
        if run.steps == 20:
            folder = plan.study.run(ids[0]).path
            (folder / "claim-000002").write_text("elsewhere 1 60\n")
        step(run, x, *more)

    monkeypatch.setattr(Run, "step", taken_at_step_20)
    assert work(str(plan.study.path), ids, plan.launcher) == {ids[0]: "taken over"}
    assert plan.study.run(ids[0]).result() is None


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "oom", "CUDA out of memory"),
        (KeyError("surprise"), "bug", "KeyError: 'surprise'"),
    ],
)
def test_a_failing_run_is_a_state_and_the_others_go_on(tiny, monkeypatch, error, kind, message):
    plan, ids = planned(tiny("seed=0,1"))
    step = Run.step

    def fail_seed_1(run, x, *more):
        if run.config.seed == 1 and run.steps == 3:
            raise error
        step(run, x, *more)

    monkeypatch.setattr(Run, "step", fail_seed_1)
    states = work(str(plan.study.path), ids, plan.launcher)
    bad = next(i for i in ids if plan.study.run(i).config()["run"]["seed"] == 1)
    assert states == {i: "failed" if i == bad else "done" for i in ids}
    status = plan.study.run(bad).status()
    assert (status.failure, status.message, status.tokens) == (kind, message, 192)
    monkeypatch.undo()
    assert work(str(plan.study.path), ids, plan.launcher) == {}  # the same launch does not try it twice
    assert len(retry(plan.study, [plan.study.run(bad)])) == 1
    assert work(str(plan.study.path), ids, plan.launcher) == {bad: "done"}
    assert not (plan.study.run(bad).path / "traceback.txt").exists()


def test_data_that_changed_since_the_plan_is_said(tiny):
    plan, ids = planned(tiny())
    folder = plan.study.run(ids[0])
    config = folder.config()
    config["data"]["synthetic"]["seed"] = 5
    folder.create(config)
    work(str(plan.study.path), ids, plan.launcher)
    assert folder.status().failure == "data" and "changed since" in folder.status().message


def train(path: str, ids: list[str], checkpoint_s: float) -> None:
    beats = {"checkpoint_s": checkpoint_s, "heartbeat_s": 0.02, "lease_s": 0.5}
    work(path, ids, Launcher(**beats, retries={"lost": 9}))


def started(study: Study, ids: list[str], checkpoint_s: float) -> BaseProcess:
    """A worker in a process of its own, forked from one that has imported torch: 21 imports would take minutes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    child = context.Process(target=train, args=(str(study.path), ids, checkpoint_s))
    child.start()
    return child


def tokens(study: Study) -> int:
    return sum(f.status().tokens for f in study.runs())


def killed_after_some_progress(study: Study, ids: list[str], pause_s: float) -> None:
    """Start a worker, wait until it has trained further than the last one, and kill -9 it."""
    before = tokens(study)
    child = started(study, ids, checkpoint_s=0.05)
    while tokens(study) <= before:
        assert child.is_alive(), "the run ended before it could be killed: make it longer"
        time.sleep(0.01)
    time.sleep(pause_s)
    child.kill()
    child.join()
    assert child.exitcode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("kills", "budget", "pause_s"), [(2, 20_000, 0.1), pytest.param(21, 120_000, 0.3, marks=pytest.mark.slow)]
)
def test_killed_at_random_it_ends_bit_identical(tiny, tmp_path, kills, budget, pause_s):
    """Four runs of two activations and two batch sizes in one pack, dead latents and AuxK in some."""
    more = ("sae.activation=topk,batchtopk", "train.batch_tokens=64,128", "sae.dead_tokens=500")
    more = (*more, f"train.max_tokens={budget}", "train.evals_per_doubling=8", "sae.n_latents=64")
    calm, ids = planned(tiny(*more, f"runs={tmp_path / 'calm'}"))
    launch(calm)
    hit, same_ids = planned(tiny(*more, f"runs={tmp_path / 'hit'}"))
    assert ids == same_ids
    moment = random.Random(0)
    for _ in range(kills):
        killed_after_some_progress(hit.study, ids, moment.uniform(0, pause_s))
    last = started(hit.study, ids, checkpoint_s=600)
    last.join()
    assert last.exitcode == 0
    assert [f.status().state for f in hit.study.runs()] == ["done"] * 4
    assert any(row["auxk_loss"] for curve in curves(calm.study).values() for row in curve)
    assert curves(hit.study) == curves(calm.study)
    for run_id in ids:
        a, b = (load_file(s.run(run_id).checkpoints / "weights.safetensors") for s in (calm.study, hit.study))
        assert all(torch.equal(a[name], b[name]) for name in a)
        assert len(list(hit.study.run(run_id).path.glob("claim-*"))) > kills // 2, "the kills hit other runs"


@pytest.mark.slow
def test_killed_it_stops_where_its_limit_is_known_as_the_unkilled_run_does(tiny, tmp_path):
    """When a run stops is decided by its curve alone, so it does not depend on where it was killed."""
    more = ("train.stop=predicted", "train.target=0.1", "train.lr=1e-2", "train.ema=0.9", "sae.n_latents=16")
    more = (*more, "train.batch_tokens=128", "train.first_eval_tokens=2048", "train.max_tokens=100000")
    more = (*more, "data.synthetic.held_out=512")
    calm, ids = planned(tiny(*more, f"runs={tmp_path / 'calm'}"))
    launch(calm)
    hit, same_ids = planned(tiny(*more, f"runs={tmp_path / 'hit'}"))
    assert ids == same_ids
    for _ in range(2):
        killed_after_some_progress(hit.study, ids, 0.01)
    last = started(hit.study, ids, checkpoint_s=600)
    last.join()
    results = [[study.run(run_id).result() for run_id in ids] for study in (calm.study, hit.study)]
    names = ("tokens", "ended_by", "nmse", "nmse_predicted", "nmse_predicted_low", "nmse_predicted_high")
    assert [[one[name] for name in names] for one in results[1]] == [
        [one[name] for name in names] for one in results[0]
    ]
    early = [one for one in results[0] if one["ended_by"] == "predicted"]
    assert early and all(one["tokens"] < 90_000 for one in early)
    assert curves(hit.study) == curves(calm.study)
    for run_id in ids:
        a, b = (load_file(s.run(run_id).checkpoints / "weights.safetensors") for s in (calm.study, hit.study))
        assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(("room", "failed_before"), [(2, [0, 0, 1, 1]), (1, [0, 1, 1, 2])])
def test_without_memory_for_a_pack_its_runs_are_trained_in_smaller_ones(
    tiny, monkeypatch, room, failed_before
):
    """A device with room for so many runs of a pack of four: the others fail, and come back in packs of half."""
    plan, ids = planned(tiny("seed=range(0,4)", "launcher.runs_per_pack=4"))
    alive, most = set(), []
    step = Run.step

    def small_device(run, x, *more):
        alive.add(run.config.seed)
        if len(alive) > room:
            alive.discard(run.config.seed)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        most.append(len(alive))
        step(run, x, *more)
        if run.tokens >= run.config.train.budget:
            alive.discard(run.config.seed)

    monkeypatch.setattr(Run, "step", small_device)
    assert work(str(plan.study.path), ids, plan.launcher) == dict.fromkeys(ids, "done")
    assert max(most) == room
    failed = [len(failures(plan.study.run(run_id))) for run_id in ids]
    assert sorted(failed) == failed_before
    assert {one.kind for run_id in ids for one in failures(plan.study.run(run_id))} == {"oom"}


def test_a_store_that_changed_ends_its_runs_as_failures_of_the_data(tiny, a_store):
    """One bit of a shard, in place: every run of the pack says which shard, and none trains on it."""
    given = tiny("data=store", f"data.store={a_store}", "sae.k=2,3")
    plan, ids = planned([override for override in given if not override.startswith("data.synthetic")])
    path = a_store / "train-00001.safetensors"
    with open(path, "r+b") as file:
        file.seek(-3, 2)
        byte = file.read(1)[0]
        file.seek(-3, 2)
        file.write(bytes([byte ^ 1]))
    assert work(str(plan.study.path), ids, plan.launcher) == dict.fromkeys(ids, "failed")
    for folder in plan.study.runs():
        status = folder.status()
        assert status.failure == "data" and "shard train-00001.safetensors of the store" in status.message
        assert not folder.curve() and not list(folder.checkpoints.glob("*"))


def two_that_share_a_trunk(tiny, *more):
    """A constant run, and one that branches off it at 3,264 tokens; evaluations at 2,048, 2,436 …"""
    given = tiny(
        "train.lr_schedule=constant,linear", "train.max_tokens=4096", "train.first_eval_tokens=2048", *more
    )
    plan, ids = planned(given)
    schedule = {run.run_id: run.config.train.lr_schedule for run in plan.runs}
    constant, decayed = sorted(ids, key=schedule.__getitem__)
    return plan, ids, constant, decayed


def test_a_run_that_another_is_trained_for_is_cancelled_between_two_evaluations(tiny, monkeypatch):
    plan, ids, constant, decayed = two_that_share_a_trunk(tiny, "launcher.heartbeat_s=1e-6")
    step = Run.step

    def cancelled_at_step_10(run, *more):
        step(run, *more)
        if run.steps == 10:
            plan.study.run(decayed).ask_to_cancel()

    monkeypatch.setattr(Run, "step", cancelled_at_step_10)
    assert work(str(plan.study.path), ids, plan.launcher) == {constant: "done", decayed: "cancelled"}
    assert plan.study.run(decayed).status().tokens == 640
    assert checkpoint.latest(plan.study.run(decayed).checkpoints)[1]["tokens"] == 640


@pytest.mark.parametrize("at", [10, 32, 51])
def test_a_preempted_pack_loses_no_step_of_a_run_that_another_is_trained_for(tiny, monkeypatch, at):
    """The signal arrives in a step, also in one that ends with an evaluation or where the runs branch."""
    plan, ids, constant, decayed = two_that_share_a_trunk(tiny)
    stop, step, taken = Stop(), Run.step, []

    def stopped_at(run, *more):
        step(run, *more)
        taken.append(run)
        if len(taken) == at:
            stop._handle(signal.SIGUSR2, None)

    monkeypatch.setattr(Run, "step", stopped_at)
    assert work(str(plan.study.path), ids, plan.launcher, stop) == dict.fromkeys(ids, "stopped")
    left = [plan.study.run(one).status().tokens for one in (constant, decayed)]
    assert left[0] == left[1] == 64 * at or at == 52 and sorted(left) == [51 * 64, 52 * 64]
    assert set(work(str(plan.study.path), ids, plan.launcher).values()) == {"done"}
    assert len(taken) == 64 + 13
    calm, _, _, _ = two_that_share_a_trunk(tiny, "name=calm")
    monkeypatch.undo()
    work(str(calm.study.path), ids, calm.launcher)
    assert curves(plan.study) == curves(calm.study)


def test_a_worker_trains_a_family_in_one_pack_behind_what_is_left_of_another(tiny, monkeypatch):
    """The packs are those of the plan, so the runs that branch off others do so."""
    budgets = "train.max_tokens=1024,2048,3072,4096"
    plan, ids = planned(tiny("train.lr_schedule=linear", budgets, "launcher.runs_per_pack=3"))
    first = ids
    plan, ids = planned(
        tiny(
            "train.lr_schedule=linear",
            "train.max_tokens=1024,2048,3072",
            "seed=1",
            "launcher.runs_per_pack=3",
        )
    )
    packs = []
    train = worker.train_group
    monkeypatch.setattr(
        worker, "train_group", lambda group, *more: packs.append(len(group)) or train(group, *more)
    )
    work(str(plan.study.path), [*first, *ids], plan.launcher)
    runs = collect(plan.study)[0].set_index("run_id")
    assert packs == [3, 1, 3] and (runs.loc[ids, "shared_tokens"] > 0).sum() == 2


def test_one_constant_part_gives_decayed_ends_at_several_budgets(tiny):
    """The tables have each end as a run of its own, as it would be alone, and say what it did not cost."""
    plan, ids = planned(tiny("train.lr_schedule=constant,linear", "train.max_tokens=2048,4096"))
    assert set(work(str(plan.study.path), ids, plan.launcher).values()) == {"done"}
    together = curves(plan.study)
    runs, evaluations = collect(plan.study)
    shared = runs.set_index(["lr_schedule", "max_tokens"])["shared_tokens"].to_dict()
    batch = plan.runs[0].config.train.batch_tokens
    assert shared[("constant", 4096)] == 0 and shared[("constant", 2048)] == 2048
    for budget in (2048, 4096):
        assert (
            shared[("linear", budget)]
            == plan.runs[0]
            .config.train.__class__(lr_schedule="linear", max_tokens=budget, batch_tokens=batch)
            .constant_tokens
        )
    decayed = runs["lr_schedule"] == "linear"
    assert runs.loc[decayed, "converged"].isna().all() and (runs.loc[decayed, "decay_share"] == 0.2).all()
    assert runs.loc[~decayed, "decay_share"].isna().all()
    assert set(evaluations["lr_schedule"]) == {"constant", "linear"}
    alone, _ = planned(
        [*tiny("train.lr_schedule=constant,linear", "train.max_tokens=2048,4096"), "name=alone"]
    )
    for run_id in ids:
        work(str(alone.study.path), [run_id], alone.launcher)
    assert curves(alone.study) == together
