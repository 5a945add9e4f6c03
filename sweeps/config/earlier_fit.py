"""The function fitted("lr_sweep", "LR_N", n_latents, GUESS) of grid.derive: the value of a law fitted to another study.

It is the rule `law` with another study in place of a phase: the law is read from runs/lr_sweep/fits.json, which
`saescale fit` writes. A plan uses GUESS until that file exists; a launch never does.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweeps.config.rule_values import fits_at
from sweeps.errors import SweepError, ended
from sweeps.ledger.phase_record import Taken

FITS = "fits.json"


class Fitted:
    """The function `fitted` for one cell.

    waiting: the studies and laws that a guess replaced, shared by all cells. taken: the values, in order of the calls.
    """

    def __init__(self, root: Path, cell: Mapping[str, Any], waiting: set[str]) -> None:
        self.root, self.cell, self.waiting = root, cell, waiting
        self.taken: list[Taken] = []

    def __call__(self, study: str, law: str, *values: float) -> float:
        """The law's value. values: its inputs in order, then a guess. Raises SweepError without a fit and a guess."""
        from fit.law.laws import (
            named,  # here: a plan without laws does without scipy, which takes seconds to import
        )
        from sweeps.rules.law_value import NoFitError, law_value

        inputs = named(law).inputs
        at, guess = values[: len(inputs)], values[len(inputs) :]
        if len(at) < len(inputs) or len(guess) > 1:
            raise SweepError(
                f"fitted({study!r}, {law!r}, …) takes {', '.join(inputs)} and optionally a guess."
            )
        path = self.root / study / FITS
        if not path.exists():
            if not guess:
                raise SweepError(
                    f"{path} does not exist: launch and fit {study} first, or give a guess for the plan."
                )
            self.waiting.add(f"{study} ({law})")
            return float(guess[0])
        fits = fits_at(path)
        try:
            taken = law_value(fits, law, dict(zip(inputs, at, strict=True)), self.cell)
        except NoFitError as error:
            # A fit with --law has the laws named and no other, so those of the file are named too.
            names = " ".join(f"--law {name}" for name in dict.fromkeys([*(fit.law for fit in fits), law]))
            command = f"saescale fit {path.parent}/runs.parquet {names}"
            raise SweepError(f"{path}: {ended(error)} Fit it beside those there: {command}") from error
        except SweepError as error:
            raise SweepError(f"{path}: {ended(error)}") from error
        self.taken.append(replace(taken, rule=f"fitted({study}, {law})", phase=study))
        assert isinstance(taken.value, float)
        return taken.value
