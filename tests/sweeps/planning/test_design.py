"""`plan design=true`: the cells that it proposes after runs made by hand, and that its command trains just these."""

import json
import re
import shlex
import shutil

import numpy as np
import pytest

from fit.law.laws import LAWS
from sweeps.config import schema
from sweeps.dispatch.launch import write_runs
from sweeps.ledger.run_folder import Status
from sweeps.planning.design.cells import cell, untrained
from sweeps.planning.plan import make_plan
from sweeps.verbs import launch, plan

SIZES = ("sae.n_latents=16,24,32,48,64,96,128,192,256", "launcher=debug")


def end(made, loss, noise=0.005):
    """Give every run of a plan the result of a law, with seeded noise."""
    write_runs(made)
    rng = np.random.default_rng(0)
    for run in sorted(made.runs, key=lambda one: one.run_id):
        folder, config = made.study.run(run.run_id), run.config
        nmse = loss(config.sae.n_latents, config.sae.k) * np.exp(noise * rng.standard_normal())
        folder.set_result({"nmse": float(nmse), "tokens": config.train.budget, "converged": True})
        folder.set_status(Status("done", config.train.budget))


def law_of_n(n, k):
    return 0.1 + 2 * n**-0.6


def shown(overrides, capsys):
    code = plan.main(overrides)
    return code, capsys.readouterr()


def launched(text):
    """The plan of the command that a proposal ends with."""
    command = next(line for line in text.splitlines() if line.startswith("Launch with: "))
    words = shlex.split(command.removeprefix("Launch with: "))
    assert words[:2] == ["saescale", "launch"]
    return make_plan(words[2:])


def test_a_design_narrows_an_exponent_within_its_budget(tiny, capsys):
    """128, 192 and 256 are left, and what a cell of 256 costs is not enough for two of them."""
    end(make_plan(tiny("sae.n_latents=16,24,32,48,64,96", "launcher=debug")), law_of_n)
    hours = {n: (2 * 16 * n + 8 * 2 * 16) * 1024 / 1e6 / 3600 for n in (128, 192, 256)}
    rate = ("launcher.flops_per_s=1e6", "design=true", "design.target=alpha")
    code, printed = shown(tiny(*SIZES, *rate, f"design.budget={1.01 * hours[256]}"), capsys)
    assert code == 0, printed.err
    assert "design for alpha, by L_N (k=2), 6 rows" in printed.out
    low, high = map(float, re.search(r"alpha now: 0\.6\d+ \[([\d.]+), ([\d.]+)\]", printed.out).groups())
    cell = re.search(r"^ +256 +([\d.e-]+) +([\d.e-]+) +(\d+)% +\[([\d.]+), ([\d.]+)\] *$", printed.out, re.M)
    assert float(cell[1]) == float(cell[2]) == pytest.approx(hours[256], rel=0.01)
    assert float(cell[3]) / 100 == pytest.approx((float(cell[5]) - float(cell[4])) / (high - low), abs=0.01)
    assert 10 < float(cell[3]) < 90
    assert [run.config.sae.n_latents for run in launched(printed.out).runs] == [256]


def test_the_command_trains_the_proposed_cells_and_no_others(tiny, capsys):
    grid = ("sae.n_latents=16,32,64,128", "sae.k=2,4,8", "seed=0,1", "launcher=debug")
    code, printed = shown(tiny(*grid, "design=true", "design.target=L(n=1024,k=4)"), capsys)
    assert code == 0, printed.err
    assert "No run of tiny has ended" in printed.out and "first fit of L_NK: plan again" in printed.out
    rows = re.findall(r"^ +(\d+) +(\d+) +(\d) +[\d.e+]+ +[\d.e+]+ *$", printed.out, re.M)
    made = launched(printed.out)
    assert len(rows) == 10 and made.study.name == "tiny"
    assert sorted(tuple(map(int, row)) for row in rows) == sorted(
        (run.config.sae.n_latents, run.config.sae.k, run.config.seed) for run in made.runs
    )
    assert {run.run_id for run in made.runs} <= {run.run_id for run in make_plan(tiny(*grid)).runs}
    code, printed = shown(tiny(*grid, "design=true", "design.target=L(n=1024,k=4)", "--json"), capsys)
    content = json.loads(printed.out)
    assert (code, content["law"], content["target"]) == (0, None, "L(n_latents=1024, k=4)")
    ids = [run["run_id"] for cell in content["cells"] for run in cell["runs"]]
    assert sorted(ids) == sorted(run.run_id for run in made.runs) and content["budget"] > 0


def test_several_lr_at_one_size_are_one_cell_of_a_law_of_all_k(tiny, capsys):
    """L_NK over three k; two lr at the untrained sizes make one cell of two runs, for the cost of both."""
    small = make_plan(tiny("sae.n_latents=16,32,64,96", "sae.k=2,4,8", "launcher=debug"))
    end(small, lambda n, k: law_of_n(n, k) * k**-0.1)
    grid = ("sae.n_latents=16,32,64,96,128,256", "sae.k=2,4,8", "train.lr=3e-3,6e-3", "launcher=debug")
    code, printed = shown(tiny(*grid, "design=true", "design.target=alpha"), capsys)
    assert code == 0, printed.err
    assert "by L_NK, 12 rows" in printed.out and " runs " in printed.out and "expected" not in printed.out
    assert all(f"alpha(k={k}) now: 0." in printed.out for k in (2, 4, 8))
    sizes = [run.config.sae.n_latents for run in launched(printed.out).runs]
    assert set(sizes) <= {128, 256} and len(sizes) % 2 == 0


ALPHA = ("design=true", "design.target=alpha", "launcher=debug")


@pytest.mark.parametrize(
    ("more", "key"),
    [
        (("sae.activation=relu", "sae.k=null", "sae.sparsity_coef=1e-3,2e-3"), "sae.sparsity_coef"),
        (("train.ema=0.9,0.99",), "train.ema"),
        (
            ("train.lr_schedule=linear", "train.stop=budget", "train.decay_share=0.2,0.5"),
            "train.decay_share",
        ),
    ],
)
def test_a_setting_that_a_law_does_not_tell_apart_is_refused(tiny, capsys, more, key):
    """As one cell, the runs of two λ would be one row of a law."""
    code, printed = shown(tiny("sae.n_latents=16,32,64,128,256,512,1024", *more, *ALPHA), capsys)
    assert code == 1 and f"the grid has {key} = " in printed.err and printed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("more", "column"),
    [
        ("train.batch_tokens=32,64", "batch_tokens"),
        ("train.lr_schedule=constant,linear", "lr_schedule"),
    ],
)
def test_a_first_fit_is_of_cells_of_one_law(tiny, capsys, more, column):
    given = tiny("sae.n_latents=geom(16,2048,2)", more, *ALPHA, "design.budget=1e18")
    code, printed = shown(given, capsys)
    assert code == 0, printed.err
    assert f"8 cells are of another group than L_N (k=2, {column}=" in printed.out
    runs = launched(printed.out).runs
    assert len(runs) == 7 and len({getattr(run.config.train, column, 0) for run in runs}) == 1
    assert len({getattr(run.config.sae, column, 0) for run in runs}) == 1


def test_runs_with_another_setting_than_the_cells_are_no_rows_of_their_law(tiny, capsys):
    """Before, the six sizes of ema = 0.9 were rows of the law, and their cells counted as trained."""
    end(make_plan(tiny("sae.n_latents=16,24,32,48,64,96", "train.ema=0.9", "launcher=debug")), law_of_n)
    code, printed = shown(tiny(*SIZES, *ALPHA, "design.budget=1e18"), capsys)
    assert code == 0, printed.err
    assert "6 ended runs with train.ema = 0.9 left out: the grid has 0.999." in printed.out
    assert "No other run of tiny has ended." in printed.out and "for a first fit of L_N" in printed.out


def test_trained_cells_stay_rows_where_a_setting_follows_n(tiny, capsys):
    """Before, the only untrained cell had warmup_tokens = 1024, and the trained ones were left out for theirs."""
    warm = ("++grid.derive.train.warmup_tokens=4*n_latents", "launcher=debug")
    sizes = "sae.n_latents=16,24,32,48,64,96,128,192"
    end(make_plan(tiny(sizes, *warm)), law_of_n)
    code, printed = shown(tiny(f"{sizes},256", *warm, *ALPHA[:2], "design.budget=1e18"), capsys)
    assert code == 0, printed.err
    assert "by L_N (k=2), 8 rows" in printed.out and "left out" not in printed.out
    assert [run.config.sae.n_latents for run in launched(printed.out).runs] == [256]


def test_all_lr_of_a_size_are_one_cell_where_max_tokens_follows_lr(tiny, capsys):
    """Before, each lr was a cell by its max_tokens, and the seven of a first fit of L_N were of two lr alone."""
    grid = ("sae.n_latents=geom(16,1024,2)", "train.lr=3e-3,6e-3,12e-3", "train.max_tokens=2048,1024,512")
    zipped = (*grid, "grid.zip=[[train.lr,train.max_tokens]]")
    code, printed = shown(tiny(*zipped, *ALPHA, "design.budget=1e18"), capsys)
    assert code == 0, printed.err
    assert "for a first fit of L_N:" in printed.out
    pairs = [(run.config.sae.n_latents, run.config.train.lr) for run in launched(printed.out).runs]
    sizes = (16, 32, 64, 128, 256, 512, 1024)
    assert sorted(pairs) == [(n, lr) for n in sizes for lr in (3e-3, 6e-3, 12e-3)]
    cells = untrained(make_plan(tiny(*zipped)), LAWS["L_ND"])
    assert len(cells) == 7
    assert {cell(LAWS["L_ND"], runs, 1.0, 1.0).at["tokens"][-1] for runs in cells} == {512}


def test_two_budgets_at_one_lr_are_no_cell_of_a_law_without_tokens(tiny, capsys):
    given = ("sae.n_latents=16,32,64,128,256,512,1024", "train.max_tokens=512,1024", *ALPHA)
    code, printed = shown(tiny(*given, "design.law=L_N"), capsys)
    assert code == 1 and "the grid has train.max_tokens = " in printed.err and "at lr=" in printed.err
    assert "a law takes both as one cell: give one of them" in printed.err and printed.err.count("\n") == 1


def test_one_cell_of_another_group_is_one_cell_and_a_missing_k_has_no_name(tiny, capsys):
    where = "grid.where=['batch_tokens == 32 or n_latents == 16']"
    more = ("train.batch_tokens=32,64", where, *ALPHA, "design.budget=1e18")
    code, printed = shown(tiny("sae.n_latents=geom(16,2048,2)", *more), capsys)
    assert code == 0, printed.err
    assert "1 cell is of another group than L_N (k=2, batch_tokens=32), and left out." in printed.out
    relu = ("sae.n_latents=16,32", "sae.activation=relu", "sae.k=null", "sae.sparsity_coef=1e-3", *ALPHA)
    code, printed = shown(tiny(*relu), capsys)
    assert code == 1 and "L_N needs 3 values" in printed.err and "None" not in printed.err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["design=true"], "design=true needs a target"),
        (["design=true", "design.target=alfa"], "No law gives 'alfa'"),
        (["design=true", "design.target=alpha", "design.law=L_C"], "A design cannot be made for L_C"),
        (
            ["design=true", "design.tarqet=alpha"],
            "design.tarqet is not a config key. Did you mean design.target",
        ),
        (
            ["design=true", "design.target=alpha", "design.budget=-1"],
            "design.budget is -1; it must be a finite number",
        ),
        (
            ["design=true", "design.target=E", "design.budget=2"],
            "design.budget is 2 FLOPs, and the cheapest untrained",
        ),
        (
            ["design=true", "design.target=E", "design.budget=1e-9", "launcher.flops_per_s=1e6"],
            "1e-09 CPU-h, and the",
        ),
        (["design=maybe", "design.target=alpha"], "maybe"),
        (["design=true", "design.target=L(tokens=1e9)"], "No law gives the loss at tokens alone"),
    ],
)
def test_bad_input_is_a_sentence(tiny, tmp_path, capsys, more, says):
    code, printed = shown(tiny(*SIZES, *more), capsys)
    assert code == 1 and says in printed.err and printed.err.count("\n") == 1 and not printed.out
    assert not (tmp_path / "tiny").exists()


def test_a_grid_that_no_law_can_be_fitted_to_or_that_is_all_trained(tiny, capsys):
    few = tiny("sae.n_latents=16,32", "launcher=debug", "design=true", "design.target=alpha")
    code, printed = shown(few, capsys)
    assert (
        code == 1
        and "alpha cannot be designed for with this grid" in printed.err
        and "needs 3 values of n_latents" in printed.err
    )
    end(make_plan(tiny("sae.n_latents=16,32", "launcher=debug")), law_of_n)
    code, printed = shown(few, capsys)
    assert code == 1 and "Every cell of tiny is trained: give a larger grid" in printed.err


@pytest.mark.parametrize("key", ["design.on", "design.target", "design.law", "design.budget"])
def test_a_launch_does_not_take_a_design(tiny, tmp_path, capsys, key):
    value = {"design.on": "true", "design.budget": "1"}.get(key, "alpha")
    assert launch.main(tiny(*SIZES, f"{key}={value}")) == 1
    text = capsys.readouterr().err
    assert f"{key}: a design is of `saescale plan`" in text and not (tmp_path / "tiny").exists()


def test_a_launch_does_not_take_a_design_from_the_file_of_a_study(tiny, tmp_path, capsys, monkeypatch):
    """The command that the proposal prints switches off what the file sets."""
    conf = tmp_path / "conf"
    shutil.copytree(schema.conf_dir(), conf)
    (conf / "study" / "asked.yaml").write_text(
        "# @package _global_\ndesign: {'on': true, target: alpha, budget: 1e18}\n"
    )
    monkeypatch.setattr("sweeps.config.compose.conf_dir", lambda: conf)
    given = tiny("study=asked", *SIZES)
    assert launch.main(given) == 1
    text = capsys.readouterr().err
    assert (
        "design.on, design.target, design.budget: a design is of" in text and not (tmp_path / "tiny").exists()
    )
    code, printed = shown(given, capsys)
    assert code == 0, printed.err
    assert "design.on=false design.target=null design.budget=null" in printed.out
    assert len(launched(printed.out).runs) == 7
