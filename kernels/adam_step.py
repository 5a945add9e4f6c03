"""The arguments of one Adam step on a table, shared by the Adam kernels and their reference."""

from typing import NamedTuple

import torch
from torch import Tensor

from kernels.inputs import FLOAT, check_matrix


class AdamStep(NamedTuple):
    """A table, its Adam moments and rates, and the other updates to its rows in the same pass.

    Attributes
    ----------
    p, m, v : (n, d) float32, contiguous, written in place: the table and its first and second moments.
    step : float32 scalar on p's device: t, the number of this update, counted from 1. It is only read, on the device,
        so no call waits for the GPU.
    lr, beta1, beta2, eps : Adam's rates.
    project : remove from each row's gradient its component along p. The rows must then have unit norm.
    renormalise : divide each row of p by its norm after the step.
    scale : float32 scalar on p's device that multiplies the gradient; None means 1.
    low : (n, d) of any float dtype, overwritten with the new p.
    average : (n, d) float32, overwritten with decay·average + (1 − decay)·p.
    """

    p: Tensor
    m: Tensor
    v: Tensor
    step: Tensor
    lr: float
    beta1: float
    beta2: float
    eps: float
    project: bool = False
    renormalise: bool = False
    scale: Tensor | None = None
    low: Tensor | None = None
    average: Tensor | None = None
    decay: float = 0.0


def check_adam_step(adam: AdamStep, g: Tensor | None = None) -> None:
    """Raise TypeError or ValueError unless `adam` is as `AdamStep` describes and g, if given, matches p."""
    p = adam.p
    check_matrix("p", p, p.device)
    if p.device.type not in ("cpu", "cuda"):
        raise ValueError(f"p is on {p.device}; the kernels run on cpu and cuda")
    for name, table in dict(p=p, m=adam.m, v=adam.v, g=g, average=adam.average).items():
        if table is not None:
            _check_like(name, table, p, (torch.float32,))
    if adam.low is not None:
        _check_like("low", adam.low, p, FLOAT)
    for name, scalar in dict(step=adam.step, scale=adam.scale).items():
        if scalar is not None and not isinstance(scalar, Tensor):
            raise TypeError(f"{name} is {scalar!r}; it must be a tensor, a scalar torch.float32[]")
        if scalar is not None and (scalar.dtype != torch.float32 or scalar.dim() > 0):
            raise TypeError(
                f"{name} is {scalar.dtype}{list(scalar.shape)}; it must be a scalar torch.float32[]"
            )
        if scalar is not None and scalar.device != p.device:
            raise ValueError(f"{name} is on {scalar.device}, p on {p.device}; move one")
    for name, rate in dict(beta1=adam.beta1, beta2=adam.beta2, decay=adam.decay).items():
        if not 0 <= rate < 1:
            raise ValueError(f"{name} is {rate}; it must lie in [0, 1)")


def _check_like(name: str, table: Tensor, p: Tensor, dtypes: tuple[torch.dtype, ...]) -> None:
    if table.dtype not in dtypes:
        raise TypeError(f"{name} is {table.dtype}; it must be one of {', '.join(map(str, dtypes))}")
    if table.shape != p.shape:
        raise ValueError(f"{name} has shape {tuple(table.shape)}; p has {tuple(p.shape)}")
    if not table.is_contiguous():
        raise ValueError(
            f"{name} has strides {table.stride()}; it must be contiguous, since rows are written whole"
        )
    if table.device != p.device:
        raise ValueError(f"{name} is on {table.device}, p on {p.device}; move one")
