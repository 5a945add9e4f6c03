"""The command line: help for every verb, errors as one sentence, exit codes, no traceback, nothing half-written."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sae_core.data.import_array import from_array
from sae_core.data.store import Store
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
    try:
        code = main([verb, "--help"])
    except SystemExit as exit_:  # argparse leaves this way
        code = exit_.code or 0
    assert code == 0
    assert f"saescale {verb}" in capsys.readouterr().out


def test_usage(capsys):
    assert main(["--help"]) == 0 and main([]) == 2 and main(["dance"]) == 2
    assert "'dance' is not a verb" in capsys.readouterr().err


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
