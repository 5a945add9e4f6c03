"""The line that says what a long computation is at: on a terminal only, gone when it ends, and never with -q."""

import io
import time

import pandas as pd
import pytest

from fit.views.verbs import compare, figures
from fit.views.verbs.waiting import CLEAR, Waiting


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("terminal", "quiet"), [(True, False), (True, True), (False, False)])
def test_a_long_computation_says_what_it_is_at_on_a_terminal_only(terminal, quiet, monkeypatch):
    stderr = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr("sys.stderr", stderr)
    with Waiting("fitting", quiet, after_s=0.0) as waiting:
        waiting.at("L_N, k=16")
        for _ in range(200):
            if "L_N" in stderr.getvalue():
                break
            waiting._over.wait(0.01)
            if not terminal or quiet:
                break
    shown = stderr.getvalue()
    assert (
        ("fitting: L_N, k=16 (" in shown and shown.endswith("\r\x1b[K"))
        if terminal and not quiet
        else not shown
    )
    with Waiting("fitting"):
        pass  # a quick one shows nothing
    assert stderr.getvalue() == shown


def long_work(stderr, quiet, *step):
    """What takes long: it lasts until the line has the step, or a moment where none may come."""
    until = time.monotonic() + (0.1 if quiet else 10.0)
    while time.monotonic() < until and not all(part in stderr.getvalue() for part in step):
        time.sleep(0.01)


def terminal(monkeypatch):
    """A terminal on stderr, and the line without its two seconds of patience.

    No fixture, since capsys puts its own stderr in place when the test begins.
    """
    monkeypatch.setattr(Waiting.__init__, "__defaults__", (False, 0.0))
    stderr = Terminal()
    monkeypatch.setattr("sys.stderr", stderr)
    return stderr


@pytest.mark.parametrize("quiet", [False, True])
def test_figures_say_which_one_is_drawn(quiet, tmp_path, monkeypatch, capsys):
    stderr = terminal(monkeypatch)

    def make(study, out, only, look, say, texts, at):
        at("l_n")
        long_work(stderr, quiet, "drawing: l_n (")
        say(f"after {len(stderr.getvalue())}")
        return [out]

    monkeypatch.setattr("fit.views.figures.gallery.make", make)
    pd.DataFrame({"n_latents": [64, 128], "nmse": [0.5, 0.4]}).to_csv(tmp_path / "runs.csv", index=False)
    assert figures.main([str(tmp_path / "runs.csv"), *["-q"] * quiet]) == 0
    shown = stderr.getvalue()
    assert not shown if quiet else "drawing: l_n (" in shown and shown.endswith(CLEAR)
    printed = capsys.readouterr().out
    assert not printed if quiet else "after" in printed


@pytest.mark.parametrize("quiet", [False, True])
def test_compare_says_what_it_is_at(quiet, tmp_path, monkeypatch):
    stderr = terminal(monkeypatch)

    def compute_ratios(a, b):
        long_work(stderr, quiet, "comparing: topk with relu (")
        return []

    monkeypatch.setattr("fit.study.answers.compute_ratio.compute_ratios", compute_ratios)
    rows = [(name, n, 1e9 * n, 1 / n) for name in ("topk", "relu") for n in (64, 128, 256)]
    table = pd.DataFrame(rows, columns=["activation", "n_latents", "flops_sparse", "nmse"])
    table.to_csv(tmp_path / "runs.csv", index=False)
    assert compare.main([str(tmp_path / "runs.csv"), "--by", "activation", *["-q"] * quiet]) == 0
    shown = stderr.getvalue()
    assert not shown if quiet else "comparing: topk with relu (" in shown and shown.endswith(CLEAR)


def test_what_is_printed_meanwhile_takes_the_place_of_the_line(monkeypatch, capsys):
    stderr = terminal(monkeypatch)
    with Waiting("drawing") as waiting:
        long_work(stderr, False, "drawing (")
        waiting.say("wrote l_n.pdf")
        assert stderr.getvalue().endswith(CLEAR)
    assert capsys.readouterr().out == "wrote l_n.pdf\n"
