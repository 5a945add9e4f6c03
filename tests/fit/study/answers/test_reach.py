"""How far a point is beyond the rows: in one input, and between them."""

import numpy as np
import pytest

from fit.law.fit import fit_law
from fit.law.laws import named
from fit.study.answers.reach import Extent


@pytest.fixture(scope="module")
def triangle():
    """Rows of L(N, D) in which a larger n has more tokens: none has the smallest n and the most tokens."""
    n, share = np.meshgrid(2.0 ** np.arange(8, 14), 2.0 ** np.arange(0, 4))
    x = {"n_latents": n.ravel(), "tokens": (n * share * 1e4).ravel()}
    truth = {"E": 0.1, "A": 2.0, "alpha": 0.3, "B": 30.0, "beta": 0.4}
    return fit_law("L_ND", x, named("L_ND").loss(truth, x), method="delta", hold_out=False)


def test_a_point_beyond_names_the_input_the_factor_and_the_edge(triangle):
    extent = Extent(triangle)
    above = extent.reach({"n_latents": 2.0**15, "tokens": 2.0**13 * 8e4 * 2})
    assert (above.factor, above.input, above.edge, above.above) == (4.0, "n_latents", 2.0**13, True)
    assert above.far and str(above) == "4 × beyond the largest n_latents (8,192)"
    below = extent.reach({"n_latents": 2.0**8, "tokens": 2.0**7 * 1e4})
    assert (below.factor, below.input, below.above) == (2.0, "tokens", False) and not below.far


def test_rows_and_what_lies_between_them_are_inside(triangle):
    extent = Extent(triangle)
    for point in triangle.points:
        assert extent.reach(point.inputs).factor == 1.0
    middle = extent.reach({"n_latents": 2.0**10.5, "tokens": 2.0**12 * 1e4})
    assert middle.factor == 1.0 and str(middle) == "inside the rows"


def test_a_combination_that_no_row_is_near_is_outside(triangle):
    """At the smallest n the rows end at 8 times its fewest tokens. The hull's side through these rows is D = 8e4·n, so
    a point 16 times above it is √16 away in each of two inputs of equal scale.
    """
    corner = Extent(triangle).reach({"n_latents": 2.0**8, "tokens": 2.0**12 * 8e4})
    assert corner.factor == pytest.approx(4.0, rel=1e-6) and corner.edge is None and corner.far
    assert str(corner).endswith("from the nearest mix of rows")


def test_a_law_of_one_input_has_no_corner(gpt4):
    assert Extent(gpt4[0]).reach({"n_latents": 2.0**19}).factor == 1.0
    assert Extent(gpt4[0]).reach({"n_latents": 2.0**24}).factor == pytest.approx(32.0)
