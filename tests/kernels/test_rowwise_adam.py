"""rowwise_adam_ on the CPU: against torch.optim.Adam, the definition in float64, and the optimizer of the trainer."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from kernels import reference, rowwise_adam
from kernels.adam_step import AdamStep
from kernels.rowwise_adam import rowwise_adam_, rowwise_adam_op
from tests.kernels.adam_cases import MODES, RATES, check, scalar, step_of, tables
from tests.kernels.cases import relative_error, with_threads

SHAPES = [(1, 1), (7, 33), (5, 130), (40, 16)]


def with_gradient(g):
    """rowwise_adam_ of g, which it may overwrite."""
    return lambda adam: rowwise_adam_(g.clone(), adam)


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("t", [1, 2, 1000])
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_equals_reference(n, d, t, mode):
    if d == 1 and mode["project"]:
        pytest.skip("a projected gradient of one dimension is 0 and rounding")
    *before, g = tables(n, d)
    check(with_gradient(g), before, g, t, **mode)
    check(with_gradient(g), before, g, t, **mode, scale=0.25, low=torch.empty(n, d, dtype=torch.bfloat16))


def test_blocks_of_rows_do_not_show(monkeypatch):
    def run():
        p, m, v, g = tables(40, 33)
        low = torch.empty(40, 33)
        squared = rowwise_adam_(g, step_of(p, m, v, 3, **MODES[3], low=low))
        return p, m, v, squared, low

    whole = run()
    monkeypatch.setattr(rowwise_adam, "BLOCK", 1)  # 16 rows at a time
    assert all(map(torch.equal, run(), whole))


def test_ten_steps_are_those_of_torch_adam():
    p, m, v, _ = tables(6, 20)
    m.zero_(), v.zero_()
    theirs = torch.nn.Parameter(p.clone())
    adam = torch.optim.Adam([theirs], lr=1e-2, betas=(0.9, 0.999), eps=1e-8, fused=True)
    for t in range(1, 11):
        theirs.grad = torch.randn(6, 20, generator=torch.Generator().manual_seed(t))
        rowwise_adam_(theirs.grad.clone(), step_of(p, m, v, t))
        adam.step()
    assert torch.equal(p, theirs)
    assert torch.equal(m, adam.state[theirs]["exp_avg"]) and torch.equal(v, adam.state[theirs]["exp_avg_sq"])


def test_the_reference_is_torch_adam():
    p, m, v, g = (x.double() for x in tables(6, 20))
    theirs = torch.nn.Parameter(p.clone())
    adam = torch.optim.Adam([theirs], lr=1e-2)
    theirs.grad = g
    adam.step()
    zero = torch.zeros_like(p)
    assert relative_error(reference.rowwise_adam(g, step_of(p, zero, zero, 1))[0], theirs) < 1e-15


@given(st.integers(1, 6), st.integers(2, 9), st.integers(0, 2**31), st.integers(1, 50))
def test_projection_and_norm(n, d, seed, t):
    r = torch.Generator().manual_seed(seed)
    p, g = F.normalize(torch.randn(n, d, generator=r), dim=1), torch.randn(n, d, generator=r)
    m, v = torch.zeros(n, d), torch.zeros(n, d)
    before = p.clone()
    squared = rowwise_adam_(g.clone(), step_of(p, m, v, t, **MODES[3]))
    assert torch.allclose(p.norm(dim=1), torch.ones(n), atol=1e-6)
    assert (
        (m * before).sum(1).abs() < 1e-6 * g.norm()
    ).all()  # m began at 0: it holds the projected gradient
    along = (g * before).sum(1)
    assert torch.allclose(squared, g.pow(2).sum(1) - along**2, rtol=1e-4, atol=1e-5)


def test_a_row_of_zeros_stays_finite():
    p, m, v, _ = tables(3, 8)
    p[1], m[1], v[1] = 0, 0, 0
    rowwise_adam_(torch.zeros(3, 8), step_of(p, m, v, 1, **MODES[3]))
    assert p.isfinite().all() and (p[1] == 0).all()


def test_the_same_for_any_number_of_threads():
    outs = []
    for _ in with_threads(1, 2, 3):
        p, m, v, g = tables(300, 64)
        outs.append((rowwise_adam_(g, step_of(p, m, v, 2, **MODES[3])), p, m, v))
    for other in outs[1:]:
        assert all(map(torch.equal, outs[0], other))


def test_no_rows_and_no_columns():
    for n, d in ((0, 4), (3, 0)):
        *empty, g = [torch.zeros(n, d) for _ in range(4)]
        assert torch.equal(rowwise_adam_(g, step_of(*empty, 1, **MODES[3])), torch.zeros(n))


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_compiles_without_a_graph_break(mode):
    def step(p, m, v, g, t, average):
        return rowwise_adam_(g, AdamStep(p, m, v, t, **RATES, **mode, average=average, decay=0.9))

    eager, compiled = ([*tables(5, 7), scalar(2.0), torch.ones(5, 7)] for _ in range(2))
    torch._dynamo.reset()
    assert torch.equal(step(*eager), torch.compile(step, fullgraph=True, backend="aot_eager")(*compiled))
    for name, a, b in zip("pmv", eager, compiled, strict=False):
        assert torch.equal(a, b), name
    assert torch.equal(eager[-1], compiled[-1]) and not torch.equal(eager[-1], torch.ones(5, 7))


def test_a_parameter_is_stepped_when_compiled_too():
    p, m, v, g = tables(3, 8)
    eager, compiled = (torch.nn.Parameter(p.clone()) for _ in range(2))

    def step(parameter, m, v, g):
        return rowwise_adam_(g, step_of(parameter, m, v, 1, renormalise=True))

    step(eager, m.clone(), v.clone(), g.clone())
    torch._dynamo.reset()
    torch.compile(step, fullgraph=True, backend="aot_eager")(compiled, m, v, g)
    assert torch.equal(eager, compiled) and not torch.equal(eager, p)


def test_a_refusal_comes_while_compiling():
    p, m, v, g = tables(3, 8)
    with pytest.raises(torch._dynamo.exc.TorchRuntimeError, match=r"average has shape \(3, 7\)"):
        torch.compile(rowwise_adam_, fullgraph=True, backend="aot_eager")(
            g, step_of(p, m, v, 1, average=torch.zeros(3, 7))
        )


def test_opcheck():
    p, m, v, g = tables(5, 7)
    low = torch.zeros(5, 7, dtype=torch.bfloat16)
    adam = step_of(p, m, v, 2, **MODES[3], low=low, average=torch.ones(5, 7), decay=0.9)
    torch.library.opcheck(rowwise_adam_op, (g, *adam))


def test_takes_parameters_that_require_a_gradient():
    p, m, v, g = tables(3, 8)
    parameter = torch.nn.Parameter(p.clone())
    rowwise_adam_(g, step_of(parameter, m, v, 1, renormalise=True))
    assert parameter.requires_grad and parameter.is_leaf and not torch.equal(parameter, p)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (dict(p=torch.zeros(3, 4, dtype=torch.bfloat16)), TypeError, "p is torch.bfloat16"),
        (dict(p=torch.zeros(3, 4, device="meta")), ValueError, "p is on meta"),
        (dict(p=torch.zeros(4)), ValueError, r"p has shape \(4,\)"),
        (dict(g=torch.zeros(2, 4)), ValueError, r"g has shape \(2, 4\); p has \(3, 4\)"),
        (dict(m=torch.zeros(4, 3).T), ValueError, r"m has strides \(1, 3\); it must be contiguous"),
        (
            dict(v=torch.zeros(3, 4).double()),
            TypeError,
            "v is torch.float64; it must be one of torch.float32",
        ),
        (dict(v=torch.zeros(3, 4, device="meta")), ValueError, "v is on meta, p on cpu"),
        (dict(average=torch.zeros(3, 4).half()), TypeError, "average is torch.float16"),
        (dict(low=torch.zeros(3, 5)), ValueError, r"low has shape \(3, 5\)"),
        (dict(low=torch.zeros(3, 4, dtype=torch.int8)), TypeError, "low is torch.int8"),
        (dict(step=1), TypeError, "step is 1; it must be a tensor"),
        (dict(beta1=1.0), ValueError, r"beta1 is 1.0; it must lie in \[0, 1\)"),
        (dict(decay=2.0), ValueError, "decay is 2.0"),
        (dict(step=torch.tensor(1)), TypeError, r"step is torch.int64\[\]; it must be a scalar"),
        (dict(step=torch.ones(1)), TypeError, r"step is torch.float32\[1\]"),
        (dict(scale=torch.ones((), device="meta")), ValueError, "scale is on meta"),
    ],
)
def test_refusals_are_sentences_and_write_nothing(change, error, says):
    good = dict(zip("pmvg", tables(3, 4), strict=True)) | dict(step=scalar(1.0))
    before = {name: good[name].clone() for name in "pmvg"}
    with pytest.raises(error, match=says):
        given = good | RATES | change
        rowwise_adam_(given.pop("g"), AdamStep(**given))
    assert all(torch.equal(good[name], before[name]) for name in "pmvg")
