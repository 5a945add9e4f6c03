"""The checker itself: kernels broken on purpose must be reported, correct ones not."""

import pytest
import torch

pytest.importorskip("triton")

import triton
import triton.language as tl

from tests.kernels.interp.sanitizer import ORDERS, poison, sanitize, why_not

if why_not():
    pytest.skip(why_not(), allow_module_level=True)
pytestmark = pytest.mark.interp


@triton.jit
def double(out, x, size, BLOCK: tl.constexpr):
    offset = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offset < size
    tl.store(out + offset, 2 * tl.load(x + offset, mask=inside), mask=inside)


@triton.jit
def double_unmasked(out, x, BLOCK: tl.constexpr):
    offset = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + offset, 2 * tl.load(x + offset))


@triton.jit
def scatter_add(out, idx, x, ATOMIC: tl.constexpr):
    b = tl.program_id(0)
    i = tl.load(idx + b)
    if ATOMIC:
        tl.atomic_add(out + i, tl.load(x + b))
    else:
        tl.store(out + i, tl.load(out + i) + tl.load(x + b))


@triton.jit
def overwrite(out, BLOCK: tl.constexpr):
    lane = tl.arange(0, BLOCK)
    tl.store(out + lane // 2, lane)


@triton.jit
def read_behind(out, BLOCK: tl.constexpr):
    b = tl.program_id(0)
    tl.store(out + b + 1, tl.load(out + b))


@triton.jit
def copy_beyond_the_mask(out, x, size, OTHER: tl.constexpr, BLOCK: tl.constexpr):
    lane = tl.arange(0, BLOCK)
    tl.store(out + lane, tl.load(x + lane, mask=lane < size, other=OTHER).to(tl.float32))


@triton.jit
def copy_one(out, x, live, OTHER: tl.constexpr):
    tl.store(out, tl.load(x, mask=live != 0, other=OTHER))


@triton.jit
def reverse_twice(out, BARRIER: tl.constexpr, BLOCK: tl.constexpr):
    lane = tl.arange(0, BLOCK)
    tl.store(out + lane, lane)
    if BARRIER:
        tl.debug_barrier()
    tl.store(out + BLOCK + lane, tl.load(out + BLOCK - 1 - lane))


@triton.jit
def narrow_offsets(out, W, stride):
    i = tl.program_id(0)
    tl.store(out + i, tl.load(W + i * stride))


@triton.jit
def iota_but_the_last(out, size, BLOCK: tl.constexpr):
    lane = tl.arange(0, BLOCK)
    tl.store(out + lane, lane, mask=lane < size - 1)


@pytest.mark.parametrize("order", ORDERS)
def test_silent_on_a_correct_kernel(order):
    x, empty = torch.randn(70), torch.empty
    with sanitize(order) as errors:
        out = torch.empty(70)
        assert out.isnan().all()
        double[(3,)](out, x, 70, BLOCK=32)
    assert not errors and torch.equal(out, 2 * x)
    assert torch.empty is empty


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.uint8, torch.float16, torch.bool], ids=str)
def test_an_element_never_written_shows(dtype):
    new_empty, was = torch.Tensor.new_empty, torch.zeros(7, dtype=dtype)
    with sanitize() as errors:
        for out in (torch.empty(7, dtype=dtype), was.new_empty(7)):
            iota_but_the_last[(1,)](out, 7, BLOCK=8)
            assert out[:6].tolist() == torch.arange(6).to(dtype).tolist()
            assert out[6].item() is poison(dtype) or str(out[6].item()) == str(poison(dtype))
    assert not errors and torch.Tensor.new_empty is new_empty
    assert poison(torch.int32) == -(2**31) and poison(torch.uint8) == 255


def test_missing_mask():
    with sanitize() as errors:
        double_unmasked[(3,)](torch.zeros(70), torch.zeros(70), BLOCK=32)
    assert [e.split("lanes")[0] for e in errors] == [
        "program (2, 0, 0): out-of-bounds load in 26 ",
        "program (2, 0, 0): out-of-bounds store in 26 ",
    ]


@pytest.mark.parametrize("order", ORDERS)
def test_scatter_add(order):
    idx, x = torch.tensor([2, 0, 2, 1], dtype=torch.int32), torch.ones(4)
    with sanitize(order) as errors:
        scatter_add[(4,)](torch.zeros(3), idx, x, ATOMIC=True)
    assert not errors
    with sanitize(order) as errors:
        scatter_add[(4,)](torch.zeros(3), idx, x, ATOMIC=False)
    assert any("race" in e for e in errors)


def test_lanes_that_store_nan_do_not_overwrite_each_other():
    out = torch.zeros(4)
    with sanitize() as errors:
        copy_beyond_the_mask[(1,)](out, torch.full((4,), float("nan")), 4, OTHER=0, BLOCK=4)
    assert not errors and out.isnan().all()


def test_lanes_that_overwrite_each_other():
    with sanitize() as errors:
        overwrite[(1,)](torch.zeros(16, dtype=torch.int32), BLOCK=32)
    assert len(errors) == 1 and "two lanes" in errors[0]


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int32, torch.int64], ids=str
)
def test_masked_lanes_without_other_are_not_0(dtype):
    """The interpreter gives 0, a GPU whatever its registers hold."""
    x, out = torch.ones(8, dtype=dtype), torch.zeros(8)
    with sanitize() as errors:
        copy_beyond_the_mask[(1,)](out, x, 5, OTHER=0, BLOCK=8)
        assert out.tolist() == [1] * 5 + [0] * 3
        copy_beyond_the_mask[(1,)](out, x, 5, OTHER=None, BLOCK=8)
    assert not errors and out[:5].tolist() == [1] * 5
    assert out[5:].isnan().all() if dtype.is_floating_point else (out[5:] < -1e9).all()


def test_a_masked_scalar_with_and_without_other():
    """An `other` of 0 is one: the interpreter takes it for none."""
    x, out = torch.ones(1), torch.zeros(1)
    for live, other, expected in ((1, 0, 1.0), (0, 0, 0.0), (0, 5, 5.0)):
        with sanitize() as errors:
            copy_one[(1,)](out, x, live, OTHER=other)
        assert not errors and out.item() == expected
    with sanitize():
        copy_one[(1,)](out, x, 0, OTHER=None)
    assert out.isnan().all()


def test_a_read_of_what_the_program_stored():
    out = torch.zeros(16, dtype=torch.int32)
    with sanitize() as errors:
        reverse_twice[(1,)](out, BARRIER=True, BLOCK=8)
    assert not errors
    with sanitize() as errors:
        reverse_twice[(1,)](out, BARRIER=False, BLOCK=8)
    assert len(errors) == 1 and "no barrier" in errors[0]


@pytest.mark.parametrize("order", ORDERS)
def test_a_read_of_another_programs_write(order):
    with sanitize(order) as errors:
        read_behind[(3,)](torch.zeros(4), BLOCK=1)
    assert any("race" in e for e in errors)


def test_int32_offsets_overflow():
    W = torch.empty(2**31 + 1, dtype=torch.float16).as_strided(
        (3, 1), (2**30, 1)
    )  # 4 GiB, three pages touched
    W.zero_()
    with sanitize() as errors:
        narrow_offsets[(3,)](torch.zeros(3), W, W.stride(0))
    assert len(errors) == 1 and errors[0].startswith("program (2, 0, 0): out-of-bounds load")
