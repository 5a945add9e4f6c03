"""`saescale advise FITS --gpu-hours 200`: how to spend a budget, by the fitted laws of both regimes."""

import argparse
import json

from fit.law.options import FLOPS
from fit.views.verbs.assignments import assignments, number
from fit.views.verbs.command import Verb, remarks
from fit.views.verbs.options import add_fits, add_laws


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare FITS, the budget and the options of the advice."""
    add = parser.add_argument
    add_fits(parser)
    add(
        "inputs",
        nargs="*",
        metavar="NAME=VALUE",
        help="the group that counts, as k=32 (default: every one), and further inputs of your own laws",
    )
    add("--flops", metavar="X", type=_flops, help="the budget of one run in FLOPs, as 1e19")
    add("--gpu-hours", metavar="H", type=_number, help="the budget of one run in GPU-hours")
    add(
        "--flops-per-s",
        metavar="X",
        type=_number,
        help="speed of the GPU in FLOPs/s of this convention (default: that of the runs beside FITS, else 4e14)",
    )
    add("--d-model", metavar="D", type=_number, help="width of the activations (default: that of the runs)")
    add("--convention", choices=FLOPS, help="how FLOPs are counted (default: as in the fits, else sparse)")
    add_laws(parser, "ask only this law, or your own as mylaws.py:LAW; several as L_N,L_NK")
    add("--json", action="store_true", help="print JSON")


def _number(text: str) -> float:
    value = number(text, "flops_per_s")
    if value is None:
        raise argparse.ArgumentTypeError(f"must be a number, got {text}")
    return value


def _flops(text: str) -> float:
    value = number(text, "flops")
    if value is None:
        raise argparse.ArgumentTypeError(f"must be a number of FLOPs, got {text}")
    return value


def run(given: argparse.Namespace) -> int:
    """Print the plans for a budget."""
    from dataclasses import asdict

    from fit.law.json_values import plain
    from fit.study.answers.advise import advise
    from fit.study.answers.budget import Facts, budget
    from fit.study.answers.read_fits import law_names, read_fits, runs_beside
    from fit.views import answers

    inputs, laws = assignments(given.inputs), law_names(given.law or [])
    fits, notes = read_fits(given.fits)
    say = remarks(given, answers=True)
    for note in notes:
        say(note)
    facts = Facts.of(runs_beside(given.fits))
    money = budget(given.flops, given.gpu_hours, given.flops_per_s, facts)
    width = facts.d_model if given.d_model is None else given.d_model
    advice = advise(fits, money, inputs, width, given.convention, laws)
    if given.json:
        print(json.dumps(plain(asdict(advice)), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        print("\n".join(answers.advice(advice)))
    return 0


main = Verb(
    "advise",
    add_arguments,
    run,
    "Say how to spend a budget of compute: n, tokens, lr, batch and the loss to expect, compute-optimal and converged, "
    "for the budget, half of it and twice.",
    examples="""
    saescale advise runs/gpt2 --gpu-hours 200
    saescale advise runs/gpt2/fits.json k=32 --flops 1e21 --d-model 768
    """,
    notes="""
It rests on the laws that were fitted: L_C with N_C, D_C and LR_C, or L_ND, for the best use of compute, and T_N with
L_N or L_NK and LR_N for training to convergence. What is missing is said, and so is what lies beyond the rows.
""",
    failure="the fits say nothing about a budget; a sentence says what is missing",
    answers=True,
)

if __name__ == "__main__":
    raise SystemExit(main())
