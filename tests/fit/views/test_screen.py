"""The fits on one screen: never more lines than a terminal has, nothing refuted or left out without a word."""

from dataclasses import replace
from pathlib import Path

import pytest

from fit.law.caution import Caution, Kind
from fit.law.errors import SkippedLaw
from fit.study import fits_file
from fit.views.format import METHODS, percent, with_interval
from fit.views.lines.law_table import Block, law_tables
from fit.views.lines.merged_cautions import CLAIMS, MOST_CAUTIONS, MOST_LINES, caution_lines, skipped_line
from fit.views.lines.regimes import regime_lines
from fit.views.lines.screen import screen

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="module")
def smollm2():
    return fits_file.read(DOCS / "smollm2" / "fits.json")


@pytest.fixture(scope="module")
def regimes():
    return fits_file.read(DOCS / "regimes" / "synthetic" / "fits.json")


def printed(file, width, notes=()):
    return [line.text for line in screen(file.fits, file.regimes, notes, width)]


@pytest.mark.parametrize("width", [60, 80, 100, 132, 200])
def test_a_study_is_one_screen_at_any_usual_width(smollm2, width):
    skipped = [SkippedLaw("LR_N skipped: why", "LR_N"), SkippedLaw("k=16: LR_C: why", "LR_C", ["k=16"])]
    lines = printed(smollm2, width, skipped)
    assert len(lines) < 50 and max(map(len, lines)) <= width  # the 50th says where fits.json is
    assert "skipped: LR_N, LR_C (k=16); -v says why" in lines
    tables = [line.split(":")[0] for line in lines if line.split(":")[0] in {fit.law for fit in smollm2.fits}]
    assert sorted(tables) == sorted({fit.law for fit in smollm2.fits})


def test_every_estimate_of_a_law_of_the_loss_is_in_its_table_at_any_width(smollm2):
    for width in (60, 80, 200):
        text = "\n".join(printed(smollm2, width))
        for fit in smollm2.fits:
            if fit.response == "nmse":
                values = [p.value for p in fit.params.values()]
                assert values and all(name in text for name in ("held out", "E", "A"))
        assert "0.357 [0.304, 0.374]" in text and "+0.46 %" in text and "967 [34, 60,215]" in text


def test_the_law_that_describes_the_rows_best_comes_first_and_a_refuted_one_says_so(smollm2):
    tables = law_tables(smollm2.fits)
    assert [table.law for table in tables] == ["L_NK", "L_N", "L_C", "N_C", "D_C", "T_N"]
    by_law = {table.law: table.refuted for table in tables}
    assert by_law["L_C"] is not None and by_law["L_C"].startswith("k=32: residuals 1.28 %, noise 0.06 %")
    assert by_law["L_N"] is None
    heading = next(line for line in printed(smollm2, 200) if line.startswith("L_C: "))
    assert "REFUTED by the rows (k=32" in heading
    # A law that is refuted stands behind one that is not, however small its held-out error.
    refuted = Caution(Kind.REFUTED, "Residuals 3 % where seeds scatter by 0.1 %.")
    fits = [fit.with_cautions(before=[refuted]) if fit.law == "L_NK" else fit for fit in smollm2.fits]
    assert [table.law for table in law_tables(fits)][:3] == ["L_N", "L_NK", "L_C"]


def test_the_verdict_comes_before_the_laws(regimes):
    lines = printed(regimes, 120)
    outcomes = [
        line.split(":")[0] for line in lines if line.split(":")[0] in ("REFUTED", "HOLDS", "UNDECIDED")
    ]
    assert outcomes == ["REFUTED", "HOLDS", "UNDECIDED"] and lines[0].startswith("REFUTED: ")
    assert "13.9 [9.8, 19.6]" in " ".join(line.strip() for line in lines[:2])


def test_an_optimum_found_in_two_ways_has_the_second_beside_the_first_and_loses_no_group(smollm2):
    (table,) = law_tables([fit for fit in smollm2.fits if fit.law == "N_C"])
    (block,) = table.blocks
    assert block.header == ("k", "A", "a", "a by crossovers", "held out", "runs") and len(block.rows) == 2
    # k=32 by crossovers alone keeps its row.
    some = [fit for fit in smollm2.fits if fit.law == "N_C"]
    some = [
        fit for fit in some if (fit.group["k"], fit.selection.method) in ((16, "isoflop"), (32, "crossovers"))
    ]
    (table,) = law_tables(some)
    assert [row[0] for row in table.blocks[0].rows] == ["16", "32"]
    assert "crossovers" in table.blocks[0].rows[1][-1]


def test_the_slope_of_the_second_way_is_that_of_the_file(regimes):
    """Also where the last parameter has a longer name than its letter, as α of LR_C."""
    for law in ("N_C", "D_C", "LR_C"):
        fits = [fit for fit in regimes.fits if fit.law == law]
        (block,) = law_tables(fits)[0].blocks
        at, name = next((i, name) for i, name in enumerate(block.header) if " by " in name)
        second = next(fit for fit in fits if METHODS.get(fit.selection.method) == name.partition(" by ")[2])
        last = list(second.params.values())[-1]
        assert block.rows[0][at] == with_interval(last.value, last.low, last.high)


def test_a_lower_aicc_alone_is_not_called_better(smollm2):
    fits = [fit for fit in smollm2.fits if fit.law in ("L_N", "L_C")]
    lines = " ".join(line for fit in fits for line in caution_lines([fit], None, 200))
    assert "L_N_pure has the lower AICc" in lines and "does not decide. (L_N" in lines
    assert [Kind.ANOTHER_LAW in [c.kind for c in fit.cautions] for fit in fits] == [
        fit.law == "L_C" for fit in fits
    ]


def test_cautions_are_five_lines_that_fit_and_name_who_has_them(smollm2):
    for width in (60, 80, 120):
        lines = caution_lines(smollm2.fits, smollm2.regimes, width)
        assert sum(line.startswith("! ") for line in lines) == MOST_CAUTIONS
        assert len(lines) <= MOST_CAUTIONS * MOST_LINES and all(len(line) <= width for line in lines)
    assert "Every cell was trained at one lr" in " ".join(lines)
    last = " ".join(lines).partition("! also: ")[2]
    assert "Intervals that may mislead (L_N k=16)" in last and "(L_N_pure) (L_N k=32)" in last
    every = [Caution(kind, f"About {kind.value}.") for kind in Kind]
    one = replace(smollm2.fits[0], cautions=tuple(every))
    lines = caution_lines([one], None, 800)
    assert len(lines) == MOST_CAUTIONS and not any(Kind.REFUTED.heading in line for line in lines)
    for kind in [kind for kind in Kind if kind is not Kind.REFUTED]:
        claim = CLAIMS.get(kind, kind.heading)
        assert sum(f"About {kind.value}." in line or claim in line for line in lines) == 1


def test_what_changes_the_reading_comes_before_what_trades_off(regimes):
    text = " ".join(line.strip() for line in caution_lines(regimes.fits, regimes.regimes, 100))
    order = [
        text.index(part)
        for part in (
            "runs differ by ±15 % with batch_tokens",
            "smallest that was tried",
            "The floors of L_N",
        )
    ]
    assert order == sorted(order) and "trade-off" in text[order[-1] :]


def test_a_caution_of_one_of_two_methods_names_the_method(smollm2):
    fits = [replace(fit, cautions=()) for fit in smollm2.fits if fit.law == "N_C"]
    caution = Caution(Kind.HELD_OUT, "No check at the largest scale.")
    by_crossovers = [fit.selection.method == "crossovers" for fit in fits]
    some = [replace(f, cautions=(caution,)) if yes else f for f, yes in zip(fits, by_crossovers, strict=True)]
    assert caution_lines(some, None, 100) == [f"! {caution.text} (N_C by crossovers)"]
    k_16 = [replace(fit, cautions=(caution,)) if fit.group["k"] == 16 else fit for fit in fits]
    assert caution_lines(k_16, None, 100) == [f"! {caution.text} (N_C k=16)"]
    assert caution_lines(k_16, None, 12)[-1].endswith("1 fit")


def test_rows_taken_as_converged_are_said_in_the_heading(smollm2):
    (fit, *_) = [fit for fit in smollm2.fits if fit.law == "L_N"]
    assert law_tables([fit])[0].regime == "at convergence"
    assumed = replace(fit, selection=replace(fit.selection, unconverged=None))
    assert law_tables([assumed])[0].regime == "at convergence (assumed: no column converged)"


def test_a_sentence_that_all_fits_share_is_written_out(smollm2):
    shared = Caution(Kind.EDGE, "Every cell was trained at one lr.")
    fits = [replace(fit, cautions=(shared,)) for fit in smollm2.fits if fit.law in ("L_N", "T_N")]
    assert caution_lines(fits, None, 100) == ["! Every cell was trained at one lr. (L_N, T_N)"]


def test_the_second_exponent_is_shown_at_usual_widths_or_named_in_the_heading(smollm2):
    (table,) = law_tables([fit for fit in smollm2.fits if fit.law == "N_C"])
    block, aside = table.blocks[0].narrowed(100)
    assert "a by crossovers" in block.header and not aside
    block, aside = table.blocks[0].narrowed(75)
    assert "a by crossovers" not in block.header and aside.startswith("crossovers: -v")


def test_runs_in_the_heading_say_of_which_row_they_are():
    block = Block(("k", "E", "runs"), (("16", "0.1 [0.0, 0.2]", "7/7"), ("32", "0.1 [0.0, 0.2]", "6/7")), 1)
    assert block.narrowed(22)[1] == "runs: 7/7 at k=16, 6/7 at k=32"
    assert replace(block, rows=block.rows[:1]).narrowed(22)[1] == "7/7 runs"


def test_the_worst_of_several_refuted_groups_is_named(smollm2):
    fits = [fit for fit in smollm2.fits if fit.law == "L_C"]
    misfit = next(fit.lack_of_fit for fit in fits if fit.refutation)
    small = replace(misfit, ratio=(misfit.ratio or 0) / 2)
    refuted = Caution(Kind.REFUTED, "Residuals 3 % where seeds scatter by 0.1 %.")
    both = [
        fit if fit.refutation else replace(fit.with_cautions(before=[refuted]), lack_of_fit=small)
        for fit in fits
    ]
    assert (law_tables(both)[0].refuted or "").startswith("k=16, 32; worst k=32: residuals 1.28 %")


def test_numbers_that_rise_and_fall_are_not_given_by_their_ends(regimes):
    text = "\n".join(printed(regimes, 100))
    assert "42.3, 105.0, 36.8, 30.2" in text and "+21.6 %, +34.6 %, +17.8 %, +16.1 %" in text
    gaps = [row.loss_gap for group in regimes.regimes.groups for row in group.budgets]
    in_full = "\n".join(regime_lines(regimes.regimes))
    assert all(percent(gap, signed=True) in text and percent(gap, signed=True) in in_full for gap in gaps)


def test_the_verdict_says_what_limits_it_and_what_would_decide_it(regimes):
    text = " ".join(line.strip() for line in printed(regimes, 100))
    assert "lr* only bounded in 9 of 23 cells; ρ is 22.1 at D = 8,192, 2.5 at 1,048,576 (B = 256)" in text
    assert text.count("to decide: smaller lr") == 2


def test_the_legend_says_which_law_has_intervals_by_which_method(smollm2):
    text = " ".join(line.strip() for line in printed(smollm2, 100))
    assert (
        "by bootstrap over runs (L_C, N_C, D_C), by bootstrap over runs, widened by the misfit (L_C)" in text
    )


def test_an_optimum_has_its_points_and_not_the_runs_of_the_table(regimes):
    (table,) = law_tables([fit for fit in regimes.fits if fit.law == "LR_C"])
    assert table.blocks[0].rows[0][-1] == "14 points"


def test_what_one_of_two_ways_could_not_fit_is_not_skipped(smollm2):
    skipped = [SkippedLaw("k=16: N_C (crossovers): why", "N_C", ["k=16"]), SkippedLaw("…", "N_C", ["k=64"])]
    assert skipped_line(skipped, smollm2.fits) == "skipped: N_C (k=64); -v says why"
    assert skipped_line(skipped[:1], smollm2.fits) is None


def test_a_row_is_written_out_where_bands_would_take_more_lines():
    header, row = ("k", "E", "A", "held out", "runs"), ("16", "0.1 [0.0, 0.2]", "1 [0, 2]", "−3 %", "7/7")
    block = Block(header, (row, ("32", *row[1:])), 1)
    lines = list(block.lines(40))
    assert lines[:2] == ["  k=16: E 0.1 [0.0, 0.2], A 1 [0, 2],", "    held out −3 %, 7/7 runs"]
    assert len(lines) == 4 and len(list(block.lines(60))) == 3  # a table again


def test_a_setting_that_mixes_runs_is_the_example_of_the_rows(smollm2):
    """The frontier is then of some of its values only, which changes what the law is a law of."""
    fact = "At equal C, n_latents and lr, runs differ by ±67 % with batch_tokens (83 % of their scatter), "
    fact += "and the frontier, of the lowest loss, is of batch_tokens 256, 1024"
    mixed = Caution.advising(Kind.ROWS, fact, ": choose one value (--where …).", ("batch_tokens",))
    left_out = Caution(Kind.ROWS, "4 runs are not converged and left out.", ("converged",))
    fits = {fit.law: replace(fit, cautions=()) for fit in smollm2.fits}
    fits |= {
        "L_N": replace(fits["L_N"], cautions=(left_out,)),
        "L_C": replace(fits["L_C"], cautions=(mixed,)),
    }
    for width in (60, 80, 100, 132, 200):
        text = " ".join(line.strip() for line in caution_lines(list(fits.values()), None, width))
        assert "is of batch_tokens 256, 1024" in text, width


def test_columns_that_do_not_fit_stand_below_with_the_keys_again():
    block = Block(("k", "E", "A"), (("16", "0.1 [0.0, 0.2]", "1 [0, 2]"),), 1)
    assert list(block.lines(40)) == ["   k  E               A", "  16  0.1 [0.0, 0.2]  1 [0, 2]"]
    assert list(block.lines(22)) == ["   k  E", "  16  0.1 [0.0, 0.2]", "   k  A", "  16  1 [0, 2]"]


def test_notes_are_printed_in_full(smollm2):
    note = "The column loss was read as nmse, and 3 of its 40 cells hold no number: their rows were left out."
    assert note in " ".join(text.strip() for text in printed(smollm2, 80, [note]))
