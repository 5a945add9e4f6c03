"""The vertex of a parabola: exact where the losses are one, and a reason in words where there is none to trust."""

import numpy as np
import pytest

from fit.data.vertex import lowest, short_number


def parabola(values, at, lowest_loss=-1.5, curvature=0.08):
    return {float(v): lowest_loss + curvature / 2 * np.log(v / at) ** 2 for v in values}


@pytest.mark.parametrize("at", [300.0, 1000.0, 3000.0])
def test_recovers_a_parabola(at):
    vertex = lowest(parabola([256, 512, 1024, 2048, 4096], at), "n_latents")
    assert [np.exp(vertex.x), vertex.y, vertex.curvature] == pytest.approx([at, -1.5, 0.08], rel=1e-9)


def test_only_values_within_two_octaves_of_the_lowest_are_used():
    losses = parabola([64, 128, 256, 512, 1024, 2048, 4096], 512)
    vertex = lowest({**losses, 64.0: 5.0, 4096.0: -1.4}, "n_latents")
    assert vertex.points == 5 and np.exp(vertex.x) == pytest.approx(512)


def test_a_coarse_grid_uses_the_nearest_three():
    vertex = lowest(parabola([10, 100, 1000, 10_000], 120), "n_latents")
    assert vertex.points == 3 and np.exp(vertex.x) == pytest.approx(120)


def test_at_the_end_of_a_coarse_grid_three_are_used_too():
    vertex = lowest(parabola([10, 100, 1000, 10_000], 20), "n_latents")
    assert vertex.points == 3 and np.exp(vertex.x) == pytest.approx(20)


def test_the_neighbours_are_used_however_far():
    vertex = lowest(parabola([100, 110, 120, 1000], 150), "n_latents")
    assert vertex.points == 4 and np.exp(vertex.x) == pytest.approx(150)


@pytest.mark.parametrize(
    "at, reason",
    [
        (8000.0, "vertex at n_latents=8,000 beyond the largest, 4,096"),
        (50.0, "vertex at n_latents=50 below the smallest, 256"),
    ],
)
def test_a_vertex_outside_the_values_is_none(at, reason):
    assert lowest(parabola([256, 512, 1024, 2048, 4096], at), "n_latents") == reason


def test_losses_that_bend_down_have_none():
    losses = parabola([256, 512, 1024], 500, curvature=-0.08)
    assert lowest(losses, "n_latents") == "not convex over n_latents from 256 to 1,024"
    straight = {float(v): -0.1 * np.log(v) for v in (256, 512, 1024)}
    assert lowest(straight, "n_latents") == "not convex over n_latents from 256 to 1,024"


def test_two_values_have_none():
    assert lowest({256.0: -1.0, 512.0: -1.1}, "lr") == "a parabola needs 3 lr, there are 2"
    assert lowest({256.0: -1.0}, "lr") == "a parabola needs 3 lr, there is 1"


def test_shown():
    assert [short_number(v) for v in (4096.0, 0.001234, 93.26)] == ["4,096", "0.00123", "93.3"]
