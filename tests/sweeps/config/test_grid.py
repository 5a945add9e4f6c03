"""A grid is the product of its axes; zip, where, derive and the command line change it as they say."""

import pytest

from sweeps.config.grid import expand
from sweeps.errors import SweepError
from sweeps.planning.runs import planned_runs


def cells(*overrides: str) -> list[dict]:
    return [cell.varied for cell in expand(overrides).cells]


BASE = (
    "data=synthetic",
    "sae.n_latents=64",
    "sae.k=4",
    "train.lr=1e-3",
    "train.max_tokens=200000",
    "train.batch_tokens=1024",
)


def test_product_of_the_missions_four_axes():
    found = cells(
        "sae.n_latents=64,128", "sae.k=2,4", "train.batch_tokens=512,1024", "train.lr=geom(1e-4,4e-4,2)"
    )
    assert len(found) == 2 * 2 * 2 * 3
    assert [c["train.lr"] for c in found[:3]] == [1e-4, 2e-4, 4e-4]


def test_seed_data_and_any_other_key_are_axes():
    found = cells(*BASE, "seed=range(0,3)", "data.synthetic.zipf=1.2,1.5", "sae.auxk_coef=0,0.03125")
    assert len(found) == 12


def test_groups_are_axes():
    grid = expand([*BASE, "sae=topk", "train=paper", "data=synthetic,synthetic_finite"])
    assert [c.config["data"]["name"] for c in grid.cells] == ["synthetic", "synthetic_finite"]
    assert len({run.run_id for run in planned_runs(grid)}) == 2


def test_zip_steps_together():
    found = cells(*BASE[:1], "sae.n_latents=64,128", "train.max_tokens=1000,2000", "sae.k=2,4",
                  "grid.zip=[[sae.n_latents,train.max_tokens]]")  # fmt: skip
    pairs = {(c["sae.n_latents"], c["train.max_tokens"]) for c in found}
    assert pairs == {(64, 1000), (128, 2000)} and len(found) == 4


def test_axes_may_be_given_as_a_section():
    grid = expand([*BASE[:1], "sae.n_latents=64", "train.lr=1", "++grid.axes.sae.k=[2,4]"])
    assert grid.axes == {"sae.k": [2, 4]} and [c.config["sae"]["k"] for c in grid.cells] == [2, 4]


def test_where_filters_and_counts():
    grid = expand(
        [*BASE[:1], "sae.n_latents=64,128", "sae.k=2,16", "train.lr=1", 'grid.where=["n_latents >= 8 * k"]']
    )
    assert len(grid.cells) == 3 and grid.dropped == 1


def test_where_is_the_language_of_conditions():
    axes = [*BASE[:1], "sae.n_latents=64,128", "sae.k=2,4,16", "train.lr=1"]
    grid = expand([*axes, 'grid.where=["k in [2, 16] and n_latents > 30 * sqrt(k)"]'])
    assert [(c.varied["sae.n_latents"], c.varied["sae.k"]) for c in grid.cells] == [
        (64, 2),
        (128, 2),
        (128, 16),
    ]
    with pytest.raises(
        SweepError, match="names n_latent, which is not a column here.*Did you mean n_latents?"
    ):
        expand([*axes, 'grid.where=["n_latent > 30"]'])


def test_derived_values_follow_the_cell():
    found = expand(
        [*BASE[:1], "sae.n_latents=256,1024", "sae.k=4", "++grid.derive.train.lr='2e-3*sqrt(1024/n_latents)'"]
    )
    assert [c.config["train"]["lr"] for c in found.cells] == pytest.approx([4e-3, 2e-3])
    assert found.derived == {"train.lr": "2e-3*sqrt(1024/n_latents)"}


@pytest.mark.parametrize("plus", ["", "++"])
def test_a_derived_value_is_set_on_the_command_line(plus):
    base = ["study=demo", "sae.n_latents=64", "sae.k=4"]
    found = expand([*base, f"{plus}grid.derive.train.max_tokens=400*n_latents", "grid.derive.train.lr=null"])
    (cell,) = found.cells
    assert cell.config["train"]["max_tokens"] == 25_600
    assert found.derived == {
        "train.max_tokens": "400*n_latents"
    }  # the demo's own is replaced, and its lr removed
    (number,) = expand([*base, f"{plus}grid.derive.train.max_tokens=1e5"]).cells
    assert number.config["train"]["max_tokens"] == 100_000
    quoted = expand([*base, "grid.derive.train.max_tokens='int(1e4*sqrt(n_latents))'"]).cells
    assert quoted[0].config["train"]["max_tokens"] == 80_000


@pytest.mark.parametrize("values", ["2,3", "[2,3]", "range(2,4)"])
def test_an_axis_is_set_on_the_command_line_by_either_name(values):
    for key in ("sae.k", "grid.axes.sae.k", "++grid.axes.sae.k"):
        if key == "sae.k" and values[0] == "[":
            continue  # one value, which is a list
        found = expand(["study=demo", "sae.n_latents=64", f"{key}={values}"])
        assert [cell.config["sae"]["k"] for cell in found.cells] == [2, 3], key
    one = expand(["study=demo", "sae.n_latents=64", "grid.axes.sae.k=5"])
    assert [cell.config["sae"]["k"] for cell in one.cells] == [5]


def test_derived_values_see_those_derived_before_them():
    text = "++grid.derive={train: {batch_tokens: 8 * k, max_tokens: 10 * batch_tokens}}"
    found = expand([*BASE[:1], "sae.n_latents=64", "sae.k=2,4", "train.lr=1", text]).cells
    assert [c.config["train"]["max_tokens"] for c in found] == [160, 320]
    backwards = "++grid.derive={train: {max_tokens: 10 * batch_tokens, batch_tokens: 8 * k}}"
    with pytest.raises(SweepError, match="batch_tokens"):
        expand([*BASE[:1], "sae.n_latents=64", "sae.k=2", "train.lr=1", backwards])


def test_whole_numbers_may_be_written_as_floats_and_the_last_override_wins():
    grid = expand([*BASE, "train.max_tokens=2e5", "sae.k=2,3", "sae.k=5"])
    (cell,) = grid.cells
    assert cell.config["train"]["max_tokens"] == 200_000 and cell.config["sae"]["k"] == 5


def test_a_moved_store_is_the_same_run(a_store, tmp_path):
    moved = a_store.rename(tmp_path / "elsewhere")
    runs = [
        planned_runs(expand(["data=store", f"data.store={p}", *BASE[1:], "train.batch_tokens=64"]))
        for p in (moved,)
    ]
    again = moved.rename(tmp_path / "back")
    runs += [planned_runs(expand(["data=store", f"data.store={again}", *BASE[1:], "train.batch_tokens=64"]))]
    assert runs[0][0].run_id == runs[1][0].run_id


def test_the_command_line_beats_the_config():
    demo = expand(["study=demo"])
    assert "sae.k" in demo.axes and "train.lr" in demo.derived
    fixed = expand(["study=demo", "sae.k=4", "train.lr=1e-3"])
    assert "sae.k" not in fixed.axes and "train.lr" not in fixed.derived
    assert {c.config["train"]["lr"] for c in fixed.cells} == {1e-3}
    swept = expand(["study=demo", "sae.k=2,3"])
    assert {c.config["sae"]["k"] for c in swept.cells} == {2, 3}


def test_interpolations_see_the_cell():
    grid = expand(
        [*BASE[:1], "sae.n_latents=64,128", "sae.k=4", "train.lr=1e-3", "sae.k_aux=${sae.n_latents}"]
    )
    assert [c.config["sae"]["k_aux"] for c in grid.cells] == [64, 128]


def test_equal_science_is_one_run_whatever_it_is_written_like():
    a = planned_runs(expand([*BASE, "train.lr=1e-4"]))[0]
    b = planned_runs(expand([*BASE, "train.lr=0.0001", "name=other", "launcher.workers=7"]))[0]
    c = planned_runs(expand([*BASE, "train.lr=0.00011"]))[0]
    assert a.run_id == b.run_id != c.run_id
    assert len(planned_runs(expand([*BASE, "train.lr=1e-4,0.0001"]))) == 1


LR, OTHERS = "++grid.derive.train.lr", [text for text in BASE if not text.startswith("train.lr")]


def test_a_computed_value_is_the_run_of_the_same_value_written_down():
    """3*1e-4 is 3.0000000000000003e-4 in floating point: two runs of one value, if it is not rounded."""
    assert 3 * 1e-4 != 3e-4
    written = planned_runs(expand([*BASE, "train.lr=3e-4"]))
    for text in ("3*1e-4", "k*0.75e-4", "min(1, 3*1e-4)"):
        (run,) = planned_runs(expand([*OTHERS, f"{LR}='{text}'"]))
        assert (run.run_id, run.config) == (written[0].run_id, written[0].config), text
    third = planned_runs(expand([*OTHERS, f"{LR}='1/3'"]))[0].config.train.lr
    assert third == 0.333333333333
    others = [text for text in BASE if "max_tokens" not in text]
    huge = expand([*others, "++grid.derive.train.max_tokens='3*1e12 + 1'"]).cells
    assert huge[0].config["train"]["max_tokens"] == 3_000_000_000_001


def test_a_run_launched_before_computed_values_were_rounded_keeps_its_id(tmp_path):
    """The id and lr of the expression at commit f7b2800. A run of the rounded value has precedence over it."""
    line = [*OTHERS, "name=old", f"runs={tmp_path}", f"{LR}='3*1e-4'"]
    (new,) = planned_runs(expand(line))
    old = "e4f9db73da88"
    assert new.run_id != old and new.config.train.lr == 3e-4
    (tmp_path / "old" / old).mkdir(parents=True)
    assert planned_runs(expand(line)) == [new]  # a folder without a config is no run
    (tmp_path / "old" / old / "config.yaml").write_text("")
    (kept,) = planned_runs(expand(line))
    assert (kept.run_id, kept.config.train.lr, kept.varied["train.lr"]) == (old, 3 * 1e-4, 3 * 1e-4)
    (tmp_path / "old" / new.run_id).mkdir()
    (tmp_path / "old" / new.run_id / "config.yaml").write_text("")
    assert planned_runs(expand(line)) == [new]


def test_a_setting_that_was_added_later_changes_no_id_unless_it_is_set():
    """The id is that of these settings at commit b34ace3, before `train.target` was added, which one stop reads."""
    before, unread, first, second = (
        planned_runs(expand([*BASE, *added]))[0].run_id
        for added in (
            ["train.target=0.015"],
            ["train.target=0.03"],
            ["train.stop=predicted", "train.target=0.015"],
            ["train.stop=predicted", "train.target=0.03"],
        )
    )
    assert before == unread == "e8c53b4aefb4"
    assert len({before, first, second}) == 3


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["sae.n_latent=64"], "sae.n_latent is not a config key. Did you mean sae.n_latents?"),
        (["+sae.n_latent=64"], "sae.n_latent is not a config key. Did you mean sae.n_latents?"),
        (["sae.n_latent=64,128"], "sae.n_latent is not a config key. Did you mean sae.n_latents?"),
        (["n_latents=64"], "n_latents is not a config key. Did you mean sae.n_latents?"),
        (["stdy=demo"], "stdy is not a config key. Did you mean study?"),
        (["data.synthetic.zip=1"], "Did you mean data.synthetic.zipf"),
        (["++grid.derive.train.lrr=3"], "train.lrr is not a config key. Did you mean train.lr"),
        (["grid.derive.train.lrr=3"], "train.lrr is not a config key. Did you mean train.lr"),
        (["grid.axes.sae.kk=3"], "sae.kk is not a config key"),
        (
            ["launcher.slurm.partitions=a"],
            "launcher.slurm.partitions is not a config key. Did you mean launcher.slurm.partition",
        ),
        (["study=dem"], "There is no study 'dem'; there are activations, batch_size, demo, demo_phases"),
        (["study=dem"], "Did you mean demo?"),
        (
            ["sae.k=2,4", "grid.zip=[[sae.kk]]"],
            "grid.zip names sae.kk, which is not an axis of this grid. Did you",
        ),
        (["sae.n_latents=many"], "many"),
        (["sae.n_latents=1.5,2"], "n_latents"),
        (["study=absent"], "absent"),
        (["sae.n_latents=64", 'grid.where=["width > 3"]'], "width"),
        (["sae.k=2,4", "grid.zip=[[sae.k,train.lr]]"], "train.lr"),
        (["sae.k=2,4", "train.lr=1,2,3", "grid.zip=[[sae.k,train.lr]]"], "one length"),
        (["sae.k=2,4", "grid.zip=[[sae.k],[sae.k]]"], "twice"),
        (["sae.k=2,4", "++grid.derive.sae.k=3", "train=null"], "group"),
        (["foo=1,2"], "foo"),
        (["train.lr=interval(1,2)"], "interval"),
        (["train.lr=geom(1,8,0.5)"], "geom"),
        (["launcher.workers=1,2"], "launcher.workers"),
        (["sae.k=["], "k="),
        (["++grid.derive.train.lr='nonsense('"], "nonsense"),
        (["~data", "sae.k=2"], "data"),
    ],
)
def test_bad_grids_are_sentences(overrides, says):
    with pytest.raises(SweepError) as error:
        expand(["data=synthetic", *overrides] if "~data" not in overrides else overrides)
    assert says in str(error.value) and "\n" not in str(error.value).strip()


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["sae.n_latents=4", "sae.k=8"], "larger than sae.n_latents"),
        (["sae.k=128", "sae.n_latents=1024"], "below d_model"),
        (["sae.n_latents=0"], "at least 1"),
        (["train.batch_tokens=300000"], "larger than train.max_tokens"),
        (["train.lr=-1"], "above 0"),
        (["sae.n_latents=2,64"], "n_latents=2"),
        (['grid.where=["k > 100"]', "sae.k=2,4"], "no cells"),
    ],
)
def test_impossible_cells_are_sentences(overrides, says):
    with pytest.raises(SweepError, match=says):
        planned_runs(expand([*BASE, *overrides]))


def test_a_config_file_that_is_no_yaml_is_named_with_the_line(tmp_path):
    study = tmp_path / "study" / "broken.yaml"
    study.parent.mkdir()
    study.write_text("# @package _global_\ndefaults:\n  - demo\n  ? null\n")
    with pytest.raises(SweepError, match=f'"{study}", line 4'):
        expand(["study=broken", f"hydra.searchpath=[file://{tmp_path}]"])
