"""`saescale predict FITS n_latents=2^24 k=256`: what the fitted laws say there, or what a loss needs."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fit.law.errors import FitError
from fit.views.verbs.assignments import assignments
from fit.views.verbs.command import UsageError, Verb, remarks
from fit.views.verbs.options import add_fits, add_laws

if TYPE_CHECKING:
    from fit.study.answers.prediction import Predictions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare FITS, the inputs and the options of a prediction."""
    add = parser.add_argument
    add_fits(parser)
    add(
        "inputs",
        nargs="*",
        metavar="NAME=VALUE",
        help="inputs of the laws, as n_latents=2^24 k=256 tokens=1.3B",
    )
    add("--points", metavar="FILE", type=Path, help="predict at every row of this table; prints CSV")
    add(
        "--inverse",
        metavar="NAME=VALUE",
        help="solve for the input that is not given, as nmse=0.1 needs n_latents",
    )
    add_laws(parser, "ask only this law, or your own as mylaws.py:LAW; several as L_N,L_NK")
    add("--json", action="store_true", help="print JSON")
    add("--out", metavar="FILE", type=Path, help="write there instead of to the screen")


def run(given: argparse.Namespace) -> int:
    """Answer the question and print or write the answer."""
    from fit.data import files
    from fit.study.answers.read_fits import law_names, read_fits

    inputs = assignments(given.inputs)
    _check_usage(given, inputs)
    laws = law_names(given.law or [])
    fits, notes = read_fits(given.fits)
    say = remarks(given, answers=True)
    for note in notes:
        say(note)
    if given.inverse:
        text = _inverse(fits, inputs, given, laws)
    elif given.points:
        text = _points(fits, inputs, given, laws)
    else:
        text = _one(fits, inputs, given, laws)
    if given.out is None:
        print(text)
    else:
        written = files.write(given.out, (text + "\n").encode())
        if not getattr(given, "quiet", False):
            print(f"wrote {written}")
    return 0


def _check_usage(given: argparse.Namespace, inputs: Mapping[str, Any]) -> None:
    if given.points and given.inverse:
        raise UsageError("--points and --inverse are two questions: ask one")
    if not (inputs or given.points or given.inverse):
        raise UsageError("no inputs are given: add some, as n_latents=2^24 k=256")


def _one(fits: Sequence[Any], inputs: Mapping[str, Any], given: argparse.Namespace, laws: list[str]) -> str:
    from fit.study.answers.prediction import predict
    from fit.views import answers

    predicted = predict(fits, [inputs], laws)
    return _json(predicted) if given.json else "\n".join(answers.predictions(predicted, [inputs]))


def _inverse(
    fits: Sequence[Any], inputs: Mapping[str, Any], given: argparse.Namespace, laws: list[str]
) -> str:
    from fit.study.answers.inverse import inverse
    from fit.views import answers

    wanted = assignments([given.inverse])
    ((response, target),) = wanted.items()
    if not isinstance(target, float):
        raise FitError(f"--inverse {given.inverse}: {target!r} is not a number.")
    needed = inverse(fits, response, target, inputs, laws)
    return _json(needed) if given.json else "\n".join(answers.needs(needed))


def _points(
    fits: Sequence[Any], inputs: Mapping[str, Any], given: argparse.Namespace, laws: list[str]
) -> str:
    """CSV, or JSON, with a line for each point and law; inputs on the command line hold for every point."""
    from fit.data import tables
    from fit.study.answers.prediction import Fits, predict

    say = remarks(given, answers=True)
    table = tables.read(given.points, say)
    columns = Fits(fits, laws).columns
    ours = [name for name in table.columns if name in columns]
    if not ours:
        raise FitError(
            f"{given.points} has no column of these laws, {', '.join(columns)}; it has "
            f"{', '.join(map(str, table.columns))}."
        )
    cells, notes = tables.in_numbers(table, {})
    for note in notes:
        say(note)
    points = [
        {**inputs, **{name: value for name, value in row.items() if not _missing(value)}}
        for row in cells[ours].to_dict("records")
    ]
    predicted = predict(fits, points, laws)
    silent = len(points) - len({one.row for one in predicted.predictions})
    if silent:
        say(f"{silent} of {len(points)} points have no prediction.")
    for reason in predicted.left_out:
        say(f"left out: {reason}")
    return _json(predicted) if given.json else _csv(table, predicted)


def _missing(value: Any) -> bool:
    return value is None or value != value or str(value).strip() == ""


def _csv(table: Any, predicted: "Predictions") -> str:
    """The columns of the table, then those of the prediction; no number where an end is unbounded."""
    import pandas as pd

    from fit.views.answers import prediction_rows

    at = table.iloc[[one.row for one in predicted.predictions]].reset_index(drop=True)
    answers = pd.DataFrame(prediction_rows(predicted))
    clash = {name: f"{name}_of_point" for name in at.columns if name in answers.columns}
    return str(pd.concat([at.rename(columns=clash), answers], axis=1).to_csv(index=False)).rstrip("\n")


def _json(answer: Any) -> str:
    from dataclasses import asdict

    from fit.law.json_values import plain

    return json.dumps(plain(asdict(answer)), indent=1, ensure_ascii=False, allow_nan=False)


main = Verb(
    "predict",
    add_arguments,
    run,
    "Say what the fitted laws predict at given inputs, with 95 % intervals of the law and of a new run, or which input "
    "a loss needs.",
    examples="""
    saescale predict runs/gpt2/fits.json n_latents=2^24 k=256
    saescale predict runs/gpt2 k=32 --inverse nmse=0.1
    saescale predict runs/gpt2 --points points.csv --out predicted.csv
    """,
    notes="Each law that has its inputs answers on a line of its own, the one first that describes its rows best.",
    failure="no law can answer; a sentence says why",
    answers=True,
)

if __name__ == "__main__":
    raise SystemExit(main())
