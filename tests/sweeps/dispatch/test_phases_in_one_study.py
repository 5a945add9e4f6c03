"""A study in phases: values with intervals from earlier laws, what is stale and why, and what is refused."""

import numpy as np
import pytest

from fit.study import fits_file
from sweeps.dispatch import phases
from sweeps.dispatch.launch import write_runs
from sweeps.dispatch.phases import begin
from sweeps.errors import SweepError
from sweeps.ledger.phase_record import PhaseRecord
from sweeps.ledger.tables import collect
from sweeps.planning.phased import make_plans, stale
from sweeps.verbs import cancel, launch, plan, status
from sweeps.verbs import collect as collect_verb
from sweeps.verbs.arguments import runs_named
from tests.sweeps.dispatch.phase_study import LAWS, STUDY, N, PhaseStudy


@pytest.fixture
def study(tmp_path):
    return PhaseStudy(tmp_path)


def ended(study, *more):
    """The plans after the first phase has ended and been fitted."""
    tune = make_plans(study.overrides(*more))[0]
    study.end(tune)
    study.fit(tune)
    return make_plans(study.overrides(*more))


def test_a_phase_is_the_study_with_its_own_differences(study):
    tune, main = make_plans(study.overrides())
    assert (tune.phase, main.phase) == ("tune", "main") and len(tune.runs) == 15 and len(main.runs) == 3
    assert {run.config.train.stop for run in tune.runs} == {"budget"}
    assert {run.config.train.stop for run in main.runs} == {"converged"}  # what ln means without a stop rule
    assert {run.config.train.max_tokens for run in tune.runs} == {16384}
    assert main.grid.waiting == {"tune (15 runs to train)"} and not tune.grid.waiting
    guessed = {run.config.sae.n_latents: run.config.train.lr for run in main.runs}
    assert guessed[32] == pytest.approx(1e-2)  # what the grid derives without the rule


def test_values_have_intervals_and_what_they_rest_on(study):
    _, main = ended(study)
    lr, tokens = (
        {one.at["n_latents"]: one for one in main.grid.taken if one.key == key}
        for key in ("train.lr", "train.max_tokens")
    )
    assert lr[16].value == pytest.approx(0.2 * 16**-0.5, rel=1e-6)
    assert tokens[32].value == round(1.5 * 1000 * 32**0.6)
    one = lr[32]
    assert one.low <= one.value <= one.high and (one.phase, one.law, one.rows) == ("tune", "LR_N", 5)
    assert one.rule == "lr_law(from tune, regime=ln)"
    assert {run.config.train.lr for run in main.runs} == {float(f"{one.value:.12g}") for one in lr.values()}
    assert not main.grid.waiting


def test_record_of_a_launch_reads_back_and_the_plan_shows_it(study, capsys):
    _, main = ended(study)
    phases.begin(main)
    record = main.folder.record()
    assert isinstance(record, PhaseRecord) and record == main.record
    assert set(record.inputs["tune"]) == {run.run_id for run in make_plans(study.overrides())[0].runs}
    assert plan.main(study.overrides()) == 0
    out = capsys.readouterr().out
    assert "phase 2 of 2: main (ln, stop converged)" in out
    assert "train.lr = lr_law(from tune, regime=ln): LR_N, 5 rows" in out
    assert "n_latents=32: 0.0354 [" in out and "stale" not in out


def test_the_tables_say_which_phase_a_run_belongs_to(study):
    """Two phases share the cells that both have; a run that a later launch replaced is of no phase any more."""
    given = ("phases.main.lr=6e-3", "phases.main.stop=budget")
    tune, main = make_plans(study.overrides(*given, "phases.main.tokens=16384"))
    for each in (tune, main):
        begin(each)
        study.end(each)
    runs = collect(tune.study)[0].set_index("run_id")
    both = {run.run_id for run in tune.runs} & {run.run_id for run in main.runs}
    assert runs.loc[sorted(both), "phase"].eq("main, tune").all() and len(both) == 3
    either = runs_named([str(tune.study.path), "where=phase in ['main', 'main, tune']"])[1]
    assert {folder.run_id for folder in either} == {run.run_id for run in main.runs}
    only = [run.run_id for run in tune.runs if run.run_id not in both]
    assert runs.loc[only, "phase"].eq("tune").all() and len(runs) == len(tune.runs)
    begin(make_plans(study.overrides(*given, "phases.main.tokens=32768"))[1])
    runs = collect(tune.study)[0].set_index("run_id")
    assert runs.loc[sorted(both), "phase"].eq("tune").all()
    _, where = runs_named([str(tune.study.path), "where=phase == 'tune' and n_latents == 8"])
    assert len(where) == sum(run.config.sae.n_latents == 8 for run in tune.runs)


def test_a_torn_phase_is_missing_from_the_tables_and_blocks_nothing(study, capsys):
    """Before, `saescale collect` wrote no table. The records are read once for all runs, not once for each."""
    tune, main = make_plans(
        study.overrides("phases.main.lr=6e-3", "phases.main.stop=budget", "phases.main.tokens=32768")
    )
    for each in (tune, main):
        begin(each)
        study.end(each)
    (main.folder.path / "phase.json").write_text('{"phase": "ma')
    assert collect_verb.main([str(tune.study.path)]) == 0
    text = capsys.readouterr().err
    assert "main/phase.json is torn" in text and "no run is known to be of this phase." in text
    assert text.count("\n") == 1
    phase = collect(tune.study)[0].set_index("run_id").phase
    assert phase[[run.run_id for run in tune.runs]].eq("tune").all()
    assert phase.eq("tune").sum() == len(tune.runs) < len(phase)
    capsys.readouterr()
    assert len(runs_named([str(tune.study.path), "where=phase == 'tune'"])[1]) == len(tune.runs)
    assert capsys.readouterr().err.count(" is torn") == 1
    status.main([str(tune.study.path)])
    assert "main/phase.json is torn" in capsys.readouterr().out


def test_the_command_line_overrides_each_value(study):
    plans = ended(study)
    lr = {run.config.train.lr for run in plans[1].runs}
    assert {run.config.train.lr for run in make_plans(study.overrides("phases.main.lr=5e-3"))[1].runs} == {
        5e-3
    }
    safer = make_plans(study.overrides("phases.main.tokens.safety=3"))[1]
    assert {run.config.train.lr for run in safer.runs} == lr
    assert max(run.config.train.max_tokens for run in safer.runs) == round(3 * 1000 * 32**0.6)
    assert make_plans(study.overrides("phases.main.lr.regime=ln"))[1].grid.specs["train.lr"].options == {
        "regime": "ln"
    }
    with pytest.raises(
        SweepError, match="There is no phase 'mian' in this study; there are tune, main. Did you mean"
    ):
        make_plans(study.overrides("phases.mian.lr.regime=lc"))
    everywhere = make_plans(study.overrides("train.lr=1e-3", "phases.main.tokens=2048"))
    assert [len(one.runs) for one in everywhere] == [5, 3] and not everywhere[1].grid.specs


def test_runs_are_stale_when_what_they_rest_on_changes(study, capsys):
    tune, main = ended(study)
    phases.begin(main)
    study.end(main)
    assert stale(make_plans(study.overrides())[1]) is None
    wider = study.overrides(
        "phases.tune.grid.axes={sae.n_latents: [8, 12, 16, 24, 32], train.lr: [6e-3, 18e-3, 54e-3, 0.2]}"
    )
    _, now = make_plans(wider)
    assert now.grid.waiting == {"tune (5 runs to train)"}
    old = stale(now)
    assert old is not None and len(old.runs) == 3 and old.reasons == ("tune has 5 runs more",)
    study.end(make_plans(wider)[0])
    assert make_plans(wider)[1].grid.waiting == {"tune (to be fitted again: 5 runs more)"}
    study.fit(make_plans(wider)[0], {"LR_N": 1.1 * LAWS["LR_N"], "T_N": LAWS["T_N"]})
    _, now = make_plans(wider)
    old = stale(now)
    assert old is not None and len(old.runs) == 3 and old.reasons[0] == "tune has 5 runs more"
    assert old.reasons[1].startswith("train.lr at n_latents=8 was 0.07071 and is 0.07778")
    assert plan.main(wider) == 0
    assert "stale: 3 runs of main" in capsys.readouterr().out
    phases.begin(now)
    assert set(now.folder.record().replaced) == set(old.runs) and stale(make_plans(wider)[1]) is None
    study.end(tune, nmse=0.2)  # trained again with another result
    assert make_plans(wider)[1].grid.waiting == {"tune (to be fitted again: 15 runs with another result)"}


def test_sizes_are_as_many_as_the_hours_allow_and_stay_what_they_were(study):
    study.write(
        STUDY.replace(
            "  main:\n", "  main:\n    n_latents: {from: tune, rule: next_sizes, gpu_hours: 0.04}\n"
        )
    )
    _, main = ended(study, "launcher.flops_per_s=1e6")
    taken = main.grid.sizes
    cost = {
        n: (2 * n * 16 + 8 * 2 * 16) * round(1.5 * 1000 * n**0.6) / 128 // 1 * 128 / 1e6 / 3600
        for n in (64, 128)
    }
    assert cost[64] < 0.04 < cost[64] + cost[128]
    assert taken.value == (64,) and taken.low <= taken.value <= taken.high
    phases.begin(main)
    again = make_plans(study.overrides("launcher.flops_per_s=1e9"))[
        1
    ]  # measured anew: what was launched stays
    assert again.grid.sizes == taken
    more = make_plans(study.overrides("launcher.flops_per_s=1e6", "phases.main.n_latents.gpu_hours=0.5"))[1]
    assert len(more.grid.sizes.value) > 1


REFUSED = [
    ("main:\n    lr: {from: main, rule: lr_law}", "The phases go in a circle: main takes from main."),
    ("main:\n    lr: {from: late, rule: lr_law}\n  late:\n    lr: {from: main, rule: lr_law}",
     "The phases go in a circle: main takes from late takes from main."),
    ("main:\n    lr: {from: late, rule: lr_law}\n  late: {}", "put late before it"),
    ("main:\n    lr: {from: tuned, rule: lr_law}",
     "is not a phase of this study; there are tune, main. Did you mean tune?"),
    ("main:\n    lr: {from: tune, rule: lr_low}",
     "no rule 'lr_low'; for lr there are lr_law, lr_transfer, law. Did you mean lr_law"),
    ("main:\n    lr: {from: tune, rule: tokens_to_convergence}", "gives tokens, and not lr"),
    ("main:\n    lr: {from: tune, rule: lr_law, safety: 2}", "the rule lr_law has no option 'safety'; it has regime"),
    ("main:\n    lr: {from: tune, rule: lr_law, regime: cn}", "regime is 'cn'"),
    ("main:\n    n_latents: {from: tune, rule: next_sizes}", "the rule next_sizes needs gpu_hours"),
    ("main:\n    regime: nl", "phases.main.regime is 'nl'"),
    ("main:\n    lr: {rule: lr_law}", "needs `from`"),
    ("main:\n    tokens: {from: few, rule: tokens_to_convergence}",
     "needs at least 4 values of n_latents in few, which has 3"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "says"), REFUSED)
def test_impossible_phases_are_a_sentence_before_any_job(study, capsys, text, says):
    head, _ = STUDY.split("  main:\n")
    few = "  few:\n    grid:\n      axes: {sae.n_latents: [8, 16, 32]}\n"
    study.write(f"{head}{few if 'few' in text else ''}  {text}\n")
    for verb in (plan, launch):
        assert verb.main(study.overrides()) == 1
        err = capsys.readouterr().err
        assert says in err and err.count("\n") == 1
    assert not (study.folder / "runs").exists()


def test_a_law_or_a_target_that_no_law_can_give_is_a_sentence(study, capsys):
    tune = ended(study)[0]
    study.fit(tune, {"T_N": LAWS["T_N"]})
    assert plan.main(study.overrides()) == 1
    assert (
        "lr_law(from tune, regime=ln) has no value: it has no fit of LR_N, only of T_N."
        in capsys.readouterr().err
    )
    study.fit(tune, {"L_N": 0.4 + 0.5 * N**-0.5})
    floor = ["phases.main.lr=1e-2", "phases.main.tokens=2048"]
    study.write(
        STUDY.replace("  main:\n", "  main:\n    n_latents: {from: tune, rule: size_for_loss, nmse: 0.1}\n")
    )
    assert plan.main(study.overrides(*floor)) == 1
    assert "no law gives nmse=0.1. nmse=0.1 is below the floor of L_N" in capsys.readouterr().err
    reached = make_plans(study.overrides(*floor, "phases.main.n_latents.nmse=0.45"))[1]
    assert reached.runs[0].config.sae.n_latents == round((0.5 / 0.05) ** 2)
    assert plan.main(study.overrides(*floor, "phases.main.n_latents.nmse=1.2")) == 1
    assert "nmse is 1.2; a normalized MSE to reach is between 0 and 1" in capsys.readouterr().err


def test_a_budget_smaller_than_the_first_phase_starts_nothing(study, capsys):
    given = study.overrides("launcher.flops_per_s=1e6", "budget.gpu_hours=0.01")
    assert plan.main(given) == 1
    assert "0.00 are spent, and two tune costs" in capsys.readouterr().err
    assert launch.main(given) == 1 and not (study.folder / "runs").exists()
    money = study.overrides("launcher.flops_per_s=1e6", "budget.money=0.01", "budget.per_gpu_hour=2")
    assert launch.main(money) == 1
    assert "allows 0.005" in capsys.readouterr().err
    assert launch.main(study.overrides("budget.money=3")) == 1
    assert "give budget.per_gpu_hour" in capsys.readouterr().err


def test_it_stops_before_the_phase_that_the_budget_does_not_allow(study, capsys):
    tune, main = ended(study)
    for run in tune.runs:
        tune.study.run(run.run_id).append_row({"tokens": 1, "train_seconds": 36.0})
    given = study.overrides("launcher.flops_per_s=1e6", "budget.gpu_hours=0.155")
    assert launch.main(given) == 1
    err = capsys.readouterr().err
    assert "0.15 are spent, and two main costs" in err and "allows 0.155" in err
    assert not any(main.study.run(run.run_id).exists for run in main.runs)
    assert "0.15 are spent" in main.folder.record().stopped


def test_runs_of_every_phase_are_in_the_grid_and_status_says_why_it_stopped(study, capsys, monkeypatch):
    monkeypatch.setattr("sweeps.dispatch.slurm.available", lambda: False)
    main = ended(study)[1]
    phases.begin(main)
    write_runs(main)
    assert cancel.main([*study.overrides(), "--not-in-grid"]) == 0
    assert "0 runs cancelled, 0 had ended" in capsys.readouterr().out
    phases.stop(main, "3 of 3 runs have no result and are not tried again")
    assert status.main([str(main.study.path)]) == 0
    out = capsys.readouterr().out
    assert "15 done, 3 pending\nmain stopped: 3 of 3 runs have no result" in out
    phases.begin(make_plans(study.overrides())[1])  # launched again
    assert main.folder.record().stopped is None


TRANSFER = STUDY.replace("rule: lr_law", "rule: lr_transfer").replace(
    "geom(6e-3, 54e-3, 3)", "geom(1e-3, 256e-3, 2)"
)


def with_curves(plan, study):
    """Results of runs whose best lr is 0.2·n^−0.4·D^−0.2·√B at every budget."""
    study.end(plan)
    for run in plan.runs:
        config = run.config
        rows = []
        for step in (16, 24, 32, 48, 64, 96, 128):
            D = step * config.train.batch_tokens
            best = 0.2 * config.sae.n_latents**-0.4 * D**-0.2 * config.train.batch_tokens**0.5
            loss = float(np.exp(0.02 * np.log(config.train.lr / best) ** 2 - 0.1 * np.log(D)))
            rows.append({"step": step, "tokens": D, "nmse": loss, "nmse_live": loss, "nmse_ema": loss})
        folder = plan.study.run(run.run_id)
        for row in rows:
            folder.append_row(row)
        folder.set_result(
            rows[-1] | {"converged": True, "nmse_inf": loss, "nmse_inf_se": 0.01 * loss, "steps": 128}
        )


def test_an_lr_is_transferred_by_size_tokens_and_batch(tmp_path):
    """Tuned at n ≤ 32 at two batch sizes, for n = 512; the law is fitted only because the rule asks for it."""
    text = TRANSFER.replace("sae.n_latents: [8, 12", "train.batch_tokens: [64, 128], sae.n_latents: [8, 12")
    text = text.replace("tokens: {from: tune, rule: tokens_to_convergence, safety: 1.5}", "n_latents: [512]")
    study = PhaseStudy(tmp_path, text)
    tune, main = make_plans(study.overrides())
    assert main.grid.waiting
    with_curves(tune, study)
    phases.close(tune, [main], say=str)
    _, main = make_plans(study.overrides())
    (run,) = main.runs
    assert not main.grid.waiting and run.config.train.max_tokens == 512 * 512
    assert run.config.train.lr == pytest.approx(0.2 * 512**-0.4 * (512 * 512) ** -0.2 * 128**0.5, rel=0.01)
    (taken,) = main.grid.taken
    assert taken.rule == "lr_transfer(from tune)" and taken.law == "LR_NDB (k=2)"
    assert any("beyond the largest" in note for note in taken.notes)
    study.fit(tune)  # as by a launch before there was this rule
    waiting = make_plans(study.overrides())[1]
    assert waiting.grid.waiting == {"tune (to be fitted again, with LR_NDB and LR_ND)"}
    phases.close(tune, [waiting], say=str)  # which the next launch does by itself
    assert make_plans(study.overrides())[1].grid.taken == [taken]
    assert {"LR_NDB", "LR_N"} <= {fit.law for fit in fits_file.read(tune.folder.fits).fits}
    before = tune.folder.fits.stat().st_mtime_ns
    phases.close(tune, [waiting], say=str)
    assert tune.folder.fits.stat().st_mtime_ns == before
    study.fit(tune)  # a law that was asked for and could not be fitted is not asked for again
    tune.folder.set_fitted(tune.folder.fitted(), ("LR_NDB", "LR_ND"))
    with pytest.raises(SweepError, match=r"it has no fit of LR_ND, only of LR_N, T_N\. "):
        make_plans(study.overrides())


def test_the_lr_of_one_parametrisation_is_refused_for_the_other(tmp_path):
    study = PhaseStudy(tmp_path, STUDY.replace("  main:\n", "  main:\n    sae: {parametrization: mup}\n"))
    tune = make_plans(study.overrides())[0]
    study.end(tune)
    study.fit(tune)
    with pytest.raises(SweepError, match="sae.parametrization=standard, in which lr is another quantity"):
        make_plans(study.overrides())
