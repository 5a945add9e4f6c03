"""The geometric median, the point with the least mean distance to a sample: the initial value of b_pre."""

from torch import Tensor


def geometric_median(x: Tensor, iterations: int = 100, tolerance: float = 1e-6) -> Tensor:
    """Weiszfeld's iteration y ← Σ w_i x_i / Σ w_i, w_i = 1/‖x_i − y‖.  x: (rows, d);  returns (d,).

    Stops when y moves by less than `tolerance` of the sample's mean distance to it.
    """
    y = x.mean(0)
    for _ in range(iterations):
        distance = (x - y).norm(dim=1)
        w = 1 / distance.clamp(min=1e-12)
        moved = (w @ x) / w.sum()
        step, y = (moved - y).norm(), moved
        if step <= tolerance * distance.mean():
            break
    return y
