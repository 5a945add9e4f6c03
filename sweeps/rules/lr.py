"""The learning rate of a cell, from the lr laws of an earlier phase."""

from collections.abc import Mapping, Sequence
from typing import Any

from fit.law.errors import FitError
from fit.law.result import FitResult
from sweeps.errors import SweepError
from sweeps.ledger.phase_record import Taken
from sweeps.rules.law_value import fit_for, in_units, law_value


def lr_law(fits: Sequence[FitResult], cell: Mapping[str, Any], regime: str) -> Taken:
    """The optimal lr of a cell: lr*(n) at convergence for the regime ln, lr*(C) at the cell's compute for lc.

    The two differ by about a factor of 4 (Gao et al. 2024, A.3), so the regime is always explicit.
    """
    if regime == "ln":
        return law_value(fits, "LR_N", {"n_latents": cell["n_latents"]}, cell)
    fit, _ = fit_for(fits, "LR_C", cell)
    return law_value(fits, "LR_C", {"flops": flops(cell, fit.flops or "sparse")}, cell)


def lr_transfer(fits: Sequence[FitResult], cell: Mapping[str, Any]) -> Taken:
    """lr* at the cell's n, token budget D and batch size B, by LR_NDB, or by LR_ND where the phase had one batch size.

    A value for another batch size than that of LR_ND is taken with a note.
    """
    fits = in_units(fits, cell)
    law = "LR_NDB" if any(fit.law == "LR_NDB" for fit in fits) else "LR_ND"
    columns = {name: cell[name] for name in ("n_latents", "batch_tokens")} | {"tokens": cell["max_tokens"]}
    return law_value(fits, law, columns, cell)


def flops(cell: Mapping[str, Any], convention: str) -> float:
    """The compute C of a cell that trains on all of its tokens, in FLOPs of a convention."""
    from fit.study.answers.budget import per_token

    try:
        each = per_token(cell["n_latents"], cell["k"], cell["d_model"], convention)
    except FitError as error:
        raise SweepError(f"The compute of the cell is not known: {error}") from error
    return float(each) * cell["max_tokens"]
