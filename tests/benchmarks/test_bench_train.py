"""The training benchmarks on tiny shapes: rows for ours; a peer that is not there is missing and never a number."""

import json

import pytest

from benchmarks import step_cpu
from benchmarks.train import __main__ as train
from benchmarks.train.case import CPU, QUICK, Case
from benchmarks.train.contenders import PEERS, merged, missing


@pytest.fixture
def no_peers(tmp_path):
    return ["--quick", "--peers", str(tmp_path / "absent" / "python"), "--results", str(tmp_path / "results")]


def rows_in(tmp_path):
    (path,) = (tmp_path / "results").glob("*.json")
    return json.loads(path.read_text())


@pytest.mark.slow
def test_quick_measures_ours_and_says_that_the_peers_are_missing(tmp_path, no_peers, capsys):
    assert train.main(no_peers) == 0
    rows, printed = rows_in(tmp_path), capsys.readouterr().out
    assert {row["contender"] for row in rows} == {"ours"} and all(row["least"] > 0 for row in rows)
    packs = {(row["n"], row["runs"]) for row in rows if row["task"] == "pack"}
    assert packs == {(QUICK.n, 1), (QUICK.n, 4), *((QUICK.n_small, m) for m in (1, 4, 8, 16))}
    tasks = {row["task"]: row for row in rows}
    assert 0 < tasks["step with AuxK, none dead"]["over_off"] < 10
    assert 0 <= tasks["pack from a store"]["wait_share"] < 1
    for peer in PEERS:
        assert f"{peer}: missing: there is no {no_peers[2]}" in printed


def test_step_cpu_adds_the_pieces_up(tmp_path, no_peers, capsys):
    assert step_cpu.main(no_peers) == 0
    rows, printed = {row["work"]: row for row in rows_in(tmp_path)}, capsys.readouterr().out
    assert set(rows) == {*step_cpu.PIECES, step_cpu.OURS, step_cpu.GRADIENTS, step_cpu.OUR_TOPK}
    assert sum(rows[name]["over_pieces"] for name in step_cpu.PIECES) == pytest.approx(1)
    assert "sae-lens: missing: there is no" in printed


def test_tokens_of_all_runs_of_a_pack_count_and_medians_go_over_all_rounds():
    case = Case(4, 8, 2, 100, laps=2)
    rounds = [
        [{"task": "pack", "runs": 4, "seconds": [1.0, 2.0]}],
        [{"task": "pack", "runs": 4, "seconds": [8.0]}],
    ]
    (row,) = merged("ours:pack4", case, rounds)
    assert (row["contender"], row["seconds"], row["least"], row["most"]) == ("ours", 2.0, 1.0, 8.0)
    assert row["laps"] == 3 and row["tokens_per_second"] == 4 * 100 / 2.0


def test_goals_judge_what_was_measured_and_nothing_else():
    def row(who, speed, **more):
        return {"contender": who, "n": CPU.n, "runs": 1, "task": "step", "tokens_per_second": speed, **more}

    def aux(over):
        return {**row("ours", 1.0), "task": "step with AuxK, none dead", "over_off": over}

    rows = [row("ours", 141.0), row("eai-sparsify", 100.0), row("sae-lens", 60.0)]
    assert train.goals(rows, CPU) == [
        "≥ 1.4 × eai-sparsify: 1.41, met",
        "≥ 2.8 × sae-lens: 2.35, missed",
    ]
    judged = [train.goals([aux(over)], CPU)[0].rpartition(" ")[2] for over in (1.03, 1.04)]
    assert judged == ["met", "missed"]


def test_a_peer_that_fails_is_a_row_that_says_so():
    (row,) = merged("sae-lens", Case(4, 8, 2, 100, laps=2), ["AssertionError: k"])
    assert row["failed"] == "AssertionError: k" and "seconds" not in row
    assert "sae-lens             n = 8: failed: AssertionError: k" in train.as_table([row], {})


def test_a_python_without_the_peers_is_told(tmp_path):
    shell = tmp_path / "python"
    shell.write_text("#!/bin/sh\necho sae_lens\n")
    shell.chmod(0o755)
    assert missing(shell) == {"sae-lens": f"{shell} cannot import sae_lens"}
