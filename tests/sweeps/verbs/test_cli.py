"""The command line: help for every verb, errors as one sentence, exit codes, no traceback, nothing half-written."""

import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sae_core.data.disk.import_array import from_array
from sae_core.data.disk.store import Store
from sweeps.dispatch.launch import write_runs
from sweeps.planning.plan import make_plan
from sweeps.verbs.cli import VERBS, main


def saescale(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sweeps.verbs.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=120,
    )


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb, capsys):
    assert main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: saescale {verb} ")
    parts = [
        "\narguments:\n",
        "\noptions:\n",
        f"\nexamples:\n  saescale {verb} ",
        "\nexit codes:\n  0    done\n  1    ",
    ]
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)


def test_help_and_version_need_no_heavy_import():
    """Each verb's parser answers at once: torch alone takes two seconds to import."""
    code = """
import sys
from sweeps.verbs.cli import VERBS, main, named
assert main(["--help"]) == 0 and main(["--version"]) == 0
for verb in VERBS:
    assert main([verb, "--help"]) == 0 and named(verb).name == verb
heavy = {"torch", "hydra", "omegaconf", "submitit", "scipy", "matplotlib", "pandas", "rich"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_status_and_collect_read_a_study_without_torch(tiny):
    plan = make_plan([*tiny(), "launcher=debug"])
    write_runs(plan)
    code = f"""
import sys
from sweeps.verbs.cli import main
assert main(["status", {str(plan.study.path)!r}]) == 0
assert main(["collect", {str(plan.study.path)!r}]) in (0, 1)
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_usage(capsys):
    assert main(["--help"]) == 0 and main([]) == 2 and main(["dance"]) == 2
    assert "'dance' is not a verb" in capsys.readouterr().err


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"saescale {version('saescale')}\n"


def test_near_names_are_suggested_for_verbs_and_options(capsys):
    assert main(["lanch", "study=demo"]) == 2
    assert "Did you mean launch" in capsys.readouterr().err
    assert main(["launch", "study=demo", "--wiat"]) == 2
    assert "--wiat is not an option here. Did you mean --wait?" in capsys.readouterr().err


def test_options_of_hydra_are_taken(capsys):
    assert main(["plan", "study=demo", "--cfg", "job", "sae.k=8", "-m"]) == 0
    assert "\n  k: 8\n" in capsys.readouterr().out
    assert main(["plan", "--cfg", "hydra"]) == 2
    assert "--cfg: 'hydra' is not among the choices job." in capsys.readouterr().err


def test_ctrl_c_is_a_sentence_and_exit_code_130(tmp_path, tiny, monkeypatch, capsys):
    overrides = tiny("train.max_tokens=1000000000", "launcher=debug")
    launching = subprocess.Popen(
        [sys.executable, "-m", "sweeps.verbs.cli", "launch", *overrides], stderr=subprocess.PIPE, text=True
    )
    while not list(tmp_path.glob("tiny/*/curve.jsonl")):
        assert launching.poll() is None, launching.communicate()
        time.sleep(0.1)

    def ctrl_c(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("sweeps.verbs.status.time", SimpleNamespace(sleep=ctrl_c, monotonic=lambda: 0.0))
    assert main(["status", str(tmp_path / "tiny"), "--watch"]) == 130
    assert capsys.readouterr().err == "saescale status: interrupted.\n"
    launching.send_signal(signal.SIGINT)
    sentence = "saescale launch: interrupted; the same command goes on where it stopped.\n"
    assert launching.communicate(timeout=120)[1] == sentence and launching.returncode == 130
    assert main(["status", str(tmp_path / "tiny")]) == 1
    assert "1 stopped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["plan", "study=demo", "sae.n_latent=5"], "n_latent"),
        (["plan", "study=demo", "sae.k=128", "sae.n_latents=512"], "below d_model"),
        (["plan", "study=nowhere"], "nowhere"),
        (["plan", "study=demo", "train.lr=fast"], "fast"),
        (["plan", "data=store", "data.store=gone", "sae.n_latents=8", "sae.k=2"], "gone"),
        (["launch", "study=demo", "--wiat"], "--wiat"),
        (["launch", "study=demo", "launcher.kind=slurm"], "slurm"),
        (["status", "runs/absent"], "runs/absent"),
        (["collect", "runs/absent"], "runs/absent"),
        (["harvest", "data=synthetic"], "harvest"),
        (["fit", "absent.parquet"], "absent.parquet"),
        (["figures", "absent.parquet"], "absent.parquet"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code(arguments, says, tmp_path):
    done = saescale(*arguments, cwd=tmp_path)
    assert done.returncode != 0
    assert says in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not list(tmp_path.iterdir())


def test_verbs_run_as_modules_too():
    done = subprocess.run(
        [sys.executable, "-m", "sweeps.verbs.plan", "study=demo"], capture_output=True, text=True
    )
    assert done.returncode == 0 and "runs" in done.stdout


def test_a_torn_shard_stops_a_launch_before_it_starts(tmp_path, a_store, capsys):
    shard = next(a_store.glob("train-*"))
    shard.write_bytes(shard.read_bytes()[:-100])
    overrides = ["data=store", f"data.store={a_store}", "sae.n_latents=8", "sae.k=2", "train.lr=1e-3",
                 "train.batch_tokens=16", "train.max_tokens=64", f"runs={tmp_path / 'runs'}"]  # fmt: skip
    assert main(["launch", *overrides]) == 1
    err = capsys.readouterr().err
    assert shard.name in err and "truncated" in err and err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_whole_store_trains(tmp_path, a_store, capsys):
    overrides = ["data=store", f"data.store={a_store}", "sae.n_latents=8", "sae.k=2", "train.lr=1e-3", "launcher=debug",
                 "train.batch_tokens=16", "train.max_tokens=256", "train.first_eval_tokens=64",
                 f"runs={tmp_path / 'runs'}"]  # fmt: skip
    assert main(["launch", *overrides]) == 0
    assert main(["plan", *overrides, "train.batch_tokens=100000", "train.max_tokens=100000"]) == 1
    assert f"larger than the {Store(a_store).n_train} training tokens" in capsys.readouterr().err


def test_a_held_out_split_below_one_batch_is_refused(tmp_path, capsys):
    x = torch.randn(1000, 16, generator=torch.Generator().manual_seed(0))
    store = from_array(x, tmp_path / "store", held_out=50)
    small = ["data=store", f"data.store={store}", "sae.n_latents=32", "sae.k=2", "train.lr=1e-3"]
    assert main(["plan", *small, "train.batch_tokens=64", "train.max_tokens=640"]) == 1
    assert "holds out 50 tokens, fewer than one batch of 64" in capsys.readouterr().err


def test_verbs_that_train_nothing_import_no_torch(tiny):
    """torch takes seconds to import, and so does scipy.stats: looking at a study should not."""
    plan = make_plan(tiny())
    write_runs(plan)
    code = f"""
import sys
from sweeps.verbs import cancel, collect, plan, status
for verb, arguments in ((plan, {tiny()}), (status, [{str(plan.study.path)!r}]), (collect, [{str(plan.study.path)!r}]),
                        (cancel, [{str(plan.study.path)!r}])):
    verb.main(arguments)
    loaded = {{"torch", "scipy.stats", "matplotlib"}} & set(sys.modules)
    assert not loaded, (verb.__name__, loaded)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["plan", "study=demo", "experiment=lr_sweep"], "experiment is not among the groups that every config has: "
         "write +experiment=lr_sweep."),
        (["plan", "study=demo", "+experimnt=lr_sweep"], "experimnt is not a config key. Did you mean +experiment?"),
        # A key that the schema does not know cannot be added with a +, so nobody is told to.
        (["plan", "study=demo", "sae.n_latent=5"], "sae.n_latent is not a config key. Did you mean sae.n_latents?"),
        # 0 is the default of what a study must give.
        (["plan", "data=synthetic", "sae.n_latents=32", "sae.k=2", "train.lr=1e-3"], "train.max_tokens is not set"),
        (["plan", "data=synthetic", "sae.n_latents=32", "sae.k=2", "train.max_tokens=200000"], "train.lr is not set"),
        (["plan", "data=synthetic", "sae.n_latents=32", "train.lr=1e-3", "train.max_tokens=200000"],
         "sae.k is not set; topk needs it, at least 1."),
    ],
)  # fmt: skip
def test_mistakes_name_what_was_meant(arguments, says, capsys):
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_a_mistyped_study_is_answered_with_its_neighbour(tiny, capsys):
    plan = make_plan(tiny())
    write_runs(plan)
    assert main(["status", str(plan.study.path.parent / "tny")]) == 1
    assert "There are: tiny. Did you mean tiny?" in capsys.readouterr().err
