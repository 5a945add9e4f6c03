"""The plan of a study on screen: its cost, its jobs, its budget; what it refuses."""

import pytest

from sweeps.dispatch.launch import write_runs
from sweeps.planning.plan import make_plan
from sweeps.verbs import launch, plan
from sweeps.worker.worker import work


def shown(overrides, capsys):
    code = plan.main(overrides)
    return code, capsys.readouterr()


def test_cost_is_told_from_a_configured_throughput(tiny, capsys):
    given = tiny("seed=0,1", "sae.n_latents=32,64", "launcher.flops_per_s=1e6", "launcher.timeout_min=1")
    code, printed = shown(given, capsys)
    flops = [2 * 16 * n * 1024 + 8 * 2 * 16 * 1024 for n in (32, 64)]
    assert code == 0 and f"{2 * sum(flops) / 1e6 / 3600:.2f}" in printed.out
    assert "2 workers share 4 runs; packs of up to 4" in printed.out and "configured" in printed.out
    assert "CPU-h" in printed.out and "disk: " in printed.out


def test_jobs_of_an_array_fit_the_time_limit(tiny, capsys):
    slow = ("launcher=slurm", "launcher.workers=2", "launcher.flops_per_s=1e4", "launcher.timeout_min=10")
    code, printed = shown(tiny("seed=range(0,12)", *slow), capsys)
    planned = make_plan(tiny("seed=range(0,12)", *slow))
    assert f"{len(planned.jobs)} jobs in an array, 2 at once" in printed.out and len(planned.jobs) > 2
    assert all(job.seconds <= 600 for job in planned.jobs) and "of 0.167 h allowed" in printed.out
    assert "GPU-h" in printed.out


def test_throughput_is_measured_on_runs_that_have_ended(tiny, capsys):
    given = tiny("seed=0,1,2", "launcher=debug")
    assert "hours: unknown" in shown(given, capsys)[1].out
    one = make_plan(tiny("seed=0", "launcher=debug"))
    write_runs(one)
    work(str(one.study.path), [run.run_id for run in one.runs], one.launcher)
    code, printed = shown(given, capsys)
    assert code == 0 and "measured on 1 runs" in printed.out and "1 already done, 2 to train" in printed.out


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (
            ["budget.gpu_hours=0.001", "launcher.flops_per_s=1e3"],
            "costs 0.36 worker-hours and budget.gpu_hours allows",
        ),
        (["budget.gpu_hours=5"], "the throughput is not known"),
    ],
)
def test_a_budget_refuses_to_plan_and_to_launch(tiny, tmp_path, capsys, more, says):
    given = tiny("launcher=debug", *more)
    code, printed = shown(given, capsys)
    assert code == 1 and says in printed.err and "to train" in printed.out
    assert launch.main(given) == 1 and says in capsys.readouterr().err
    assert not (tmp_path / "tiny").exists()


def test_a_budget_that_is_enough_says_so(tiny, capsys):
    code, printed = shown(tiny("budget.gpu_hours=1", "launcher.flops_per_s=1e6"), capsys)
    assert code == 0 and "of 1 h, fits" in printed.out


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("launcher.kind=cloud", "must be one of local, slurm, debug"),
        ("+launcher.retries.luck=3", "names 'luck'; the kinds are oom, host_oom"),
        ("launcher.retries.oom=-1", "launcher.retries.oom is -1"),
        ("launcher.memory_gb=0", "launcher.memory_gb is 0"),
        ("launcher.lease_s=0.2", "less than three heartbeats"),
        ("launcher.slurm.partition=[a,b]", "partition"),
        ("+launcher.colour=red", "colour"),
    ],
)
def test_impossible_launchers_are_a_sentence(tiny, capsys, override, says):
    code, printed = shown(tiny(override), capsys)
    assert code == 1 and says in printed.err and printed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("override", "near"),
    [
        ("sae.activation=topkk", "topk"),
        ("sae.activation=topk,jumprulu", "jumprelu"),
        ("sae.init_scale=nrom", "norm"),
        ("sae.parametrization=standart", "standard"),
        ("train.precision=fp_32", "fp32"),
        ("train.stop=convergd", "converged"),
        ("train.lr_schedule=cosin", "cosine"),
        ("launcher.kind=slrum", "slurm"),
        ("launcher.device=cude", "cuda"),
        ("launcher.wandb=offlin", "offline"),
        ("launcher.gpu=H20 launcher.device=cuda", "H200"),
        ("+launcher.retries.stall=1", "stalled"),
        ("launcher=slrum", "slurm"),
        ("data=smolm2", "smollm2"),
    ],
)
def test_a_value_that_is_none_of_a_few_names_the_near_ones(tiny, capsys, override, near):
    code, printed = shown(tiny(*override.split()), capsys)
    assert code == 1 and f" Did you mean {near}" in printed.err and printed.err.count("\n") == 1


def test_hydras_own_flags_are_understood(tiny, capsys):
    code, printed = shown(["-m", *tiny("seed=0,1")], capsys)
    assert code == 0 and "2 runs = 2 seed" in printed.out
    code, printed = shown([*tiny("seed=0,1"), "--cfg", "job"], capsys)
    assert code == 0 and "n_latents: 32" in printed.out and "launcher:" in printed.out
    code, printed = shown([*tiny(), "--cfg", "hydra"], capsys)
    assert code == 2 and "not among the choices job" in printed.err
    code, printed = shown(["study=demo", "+experiment=lr_sweep"], capsys)
    assert code == 0 and "× 5 lr" in printed.out
