"""Sites by their meaning in the residual stream, found on a block of any architecture and checked with numbers.

x is the stream before the block and y the one after it, both seen in one small forward pass (`trace`). a and m are what
attention and the MLP add to the stream: the outputs of two modules of the block, each perhaps times a constant. They
are found by what they sum to, and only then told apart by their names:

  one after another     a = mid − x, m = y − mid, where a module reads mid     GPT-2, Llama, Gemma 2 and 3, OLMo2
  norms on the stream   mid = norm(x + a), y = norm(mid + m)                   BERT, OPT-350m
  side by side          a + m = y − x, and no module reads x + a               GPT-NeoX, GPT-J, Phi, Falcon
  one term only         a = y − x                                              Mamba

Where a module adds the stream itself, and none within it returns the addend alone, the difference is taken. That the
module does so is tried: it is called again with another stream, and its output must move as much.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from sae_core.data.configs import SITES
from sae_core.data.lm.trace import Tap, Trace, Value
from sae_core.data.names import Named, lens_hook

# Of each rounding step in a sum of a few terms; the factor of a term is fitted to a few steps too.
_STEPS = 32
_SMALL = 0.1  # what is left of a sum must be below this share of the term that explains it
_IN_TURN = "resid_pre + attn_out = resid_mid, resid_mid + mlp_out = resid_post"
_NORMED = "norm(resid_pre + attn_out) = resid_mid, norm(resid_mid + mlp_out) = resid_post"
_ALONE = "resid_pre + {} = resid_post"
_BESIDE = "resid_pre + attn_out + mlp_out = resid_post"


@dataclass(frozen=True)
class Reading:
    """How a site is read: `factor` × `tap`, or `tap` − `minus`."""

    tap: Tap
    factor: float = 1.0
    minus: Tap | None = None

    @property
    def taps(self) -> tuple[Tap, ...]:
        return (self.tap,) if self.minus is None else (self.tap, self.minus)

    @property
    def plain(self) -> bool:
        return self.factor == 1 and self.minus is None

    def arithmetic(self, block: str) -> str:
        """In words, as `output of layers.3.mlp`; block is the path of the block."""
        text = self.tap.described(block)
        if self.factor != 1:
            text = f"{self.factor:g} × the {text}"
        return text if self.minus is None else f"{text}, minus the {self.minus.described(block)}"

    def rows(self, taken: dict[Tap, Tensor]) -> Tensor:
        x = taken[self.tap]
        if self.minus is not None:
            return x - taken[self.minus]
        return x if self.factor == 1 else x * self.factor


@dataclass(frozen=True)
class Block:
    """The sites of one block. `lacking` says of the others why this block does not have them."""

    form: str | None  # the sums that hold; None: none was found
    sites: dict[str, Reading] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Term:
    """What is added to the stream: a module's output times a constant, or a difference."""

    reading: Reading
    x: Tensor

    @property
    def path(self) -> str:
        return self.reading.tap.module

    @property
    def is_attention(self) -> bool:
        return "att" in self.path.lower()


def resolved(trace: Trace, constants: Sequence[float] = ()) -> Block:
    """The sites of the block of this trace. constants: numbers in the model's config, one of which may be a factor."""
    x, y = trace.inputs.get(""), trace.outputs.get("")
    ends = {"resid_pre": Reading(Tap("", "input")), "resid_post": Reading(Tap(""))}
    if x is None or y is None or x.x.shape != y.x.shape:
        why = "the block does not read and return one vector for every token"
        return Block(None, {}, dict.fromkeys(("resid_pre", "resid_post", *_WITHIN), why))
    sums = _Sums(trace, x, y, constants)
    for form, search in (
        (_IN_TURN, sums.in_turn),
        (_NORMED, sums.normed),
        (_BESIDE, sums.beside),
        (_IN_TURN, partial(sums.in_turn, differences=True)),
    ):
        if (terms := search()) is not None:
            return _named(form, terms, ends, trace)
    if term := sums.alone():
        return _alone(term, ends)
    why = "no two modules of the block were found whose outputs add up to what it adds to the stream"
    return Block(None, ends, dict.fromkeys(_WITHIN, why))


_WITHIN = ("resid_mid", "attn_out", "mlp_out", "mlp_in")
_Terms = tuple[_Term, _Term, Reading | None]  # first and second term, and what reads resid_mid


def _named(form: str, terms: _Terms, ends: dict[str, Reading], trace: Trace) -> Block:
    """Tell attention from the MLP. Another first term, as of a state space model, is neither."""
    first, second, mid = terms
    if form == _BESIDE and second.is_attention and not first.is_attention:
        first, second = second, first
    sites, lacking = dict(ends), {}
    if first.is_attention:
        sites["attn_out"] = first.reading
    else:
        lacking["attn_out"] = f"what the block adds first comes from {first.path!r}, not from attention"
    if second.is_attention:
        lacking["mlp_out"] = lacking["mlp_in"] = f"what the block adds last is attention too, {second.path!r}"
    else:
        sites["mlp_out"] = second.reading
        if start := _start_of_mlp(trace, second.path):
            sites["mlp_in"] = Reading(start)
        else:
            lacking["mlp_in"] = "no module reads what the MLP gets"
    if mid is not None:
        sites["resid_mid"] = mid
    else:
        lacking["resid_mid"] = "its attention and its MLP are added at once"
    return Block(form, sites, lacking)


def _alone(term: _Term, ends: dict[str, Reading]) -> Block:
    lacking = dict.fromkeys(_WITHIN, f"the block adds the output of {term.path!r} alone")
    if not term.is_attention:
        return Block(_ALONE.format(term.path), ends, lacking)
    del lacking["attn_out"]
    return Block(_ALONE.format("attn_out"), ends | {"attn_out": term.reading}, lacking)


class _Sums:
    """The search for two terms that explain y − x."""

    def __init__(self, trace: Trace, x: Value, y: Value, constants: Sequence[float]) -> None:
        self.trace, self.x, self.y = trace, x, y
        self.constants = [c for c in constants if c and abs(c) < 1e6]
        self.outputs = [v for v in trace.returned(x.x.shape[1]) if not v.equals(x)]

    def in_turn(self, differences: bool = False) -> _Terms | None:
        term = self._term_or_difference if differences else self._term
        for mid in self._distinct(self.trace.read(self.x.x.shape[1])):
            if mid.equals(self.x) or mid.equals(self.y):
                continue
            first = term(mid, self.x)
            second = first and term(self.y, mid, first)
            if first and second:
                return first, second, Reading(mid.tap)
        return None

    def normed(self) -> _Terms | None:
        ends = [path for path, v in self.trace.outputs.items() if path and v.equals(self.y)]
        for path, mid in self.trace.outputs.items():
            before = self.trace.inputs.get(path)
            if (
                not path
                or before is None
                or before.x.shape != self.x.x.shape
                or mid.x.shape != self.x.x.shape
            ):
                continue
            if before.equals(self.x) or (first := self._term(before, self.x)) is None:
                continue
            for end in ends:
                last = self.trace.inputs.get(end)
                second = last and last.x.shape == mid.x.shape and self._term(last, mid, first)
                if second:
                    return first, second, Reading(mid.tap)
        return None

    def beside(self) -> _Terms | None:
        target, room = self.y.x - self.x.x, self._room(self.x, self.y)
        distinct = list(self._distinct(self.outputs))
        for i, a in enumerate(distinct):
            for b in distinct[i + 1 :]:
                pair = torch.stack([a.x.flatten(), b.x.flatten()], dim=1)
                gram = pair.T @ pair
                if torch.linalg.det(gram) <= 1e-6 * gram[0, 0] * gram[1, 1]:
                    continue
                c = torch.linalg.solve(gram, pair.T @ target.flatten())
                factors = [self._factor(float(each), max(a.eps, b.eps)) for each in c]
                terms = [_Term(Reading(v.tap, f), f * v.x) for f, v in zip(factors, (a, b), strict=True)]
                left = target - terms[0].x - terms[1].x
                own = max(a.eps, b.eps) * (terms[0].x.abs() + terms[1].x.abs())
                if self._explains(left, terms, room + _STEPS * own):
                    return terms[0], terms[1], None
        return None

    def _term(self, after: Value, before: Value, but: _Term | None = None) -> _Term | None:
        """The module whose output was added between two points of the stream, or the difference of the two."""
        target, room = after.x - before.x, self._room(before, after)
        for v in self.outputs:
            if v.equals(after) or v.equals(before) or (but is not None and v.tap == but.reading.tap):
                continue
            power = float((v.x * v.x).sum())
            if not power:
                continue
            factor = self._factor(float((v.x * target).sum()) / power, v.eps)
            term = _Term(Reading(v.tap, factor), factor * v.x)
            if self._explains(target - term.x, [term], room + _STEPS * v.eps * term.x.abs()):
                return term
        return None

    def _term_or_difference(self, after: Value, before: Value, but: _Term | None = None) -> _Term | None:
        """As `_term`; else after − before, if `after` is returned by a module that was given `before` and adds it."""
        if found := self._term(after, before, but):
            return found
        for path, value in self.trace.outputs.items():
            if path and value.equals(after) and self.trace.adds(path, before):
                return _Term(Reading(value.tap, 1.0, before.tap), after.x - before.x)
        return None

    def alone(self) -> _Term | None:
        return self._term(self.y, self.x)

    def _room(self, before: Value, after: Value) -> Tensor:
        """How far a sum may be off by rounding, element by element."""
        return _STEPS * max(before.eps, after.eps) * (before.x.abs() + after.x.abs())

    def _factor(self, fitted: float, eps: float) -> float:
        """1, or a number of the model's config, if the fitted factor is that number up to rounding."""
        near = [c for c in (1.0, *self.constants) if abs(c - fitted) <= _STEPS * eps * abs(c)]
        return min(near, key=lambda c: abs(c - fitted)) if near else float(f"{fitted:.6g}")

    @staticmethod
    def _explains(left: Tensor, terms: Sequence[_Term], room: Tensor) -> bool:
        smallest = min(float(term.x.norm()) for term in terms)
        return bool((left.abs() <= room).all()) and float(left.norm()) <= _SMALL * smallest

    @staticmethod
    def _distinct(values: Sequence[Value]) -> Iterator[Value]:
        seen: list[Value] = []
        for value in values:
            if not any(value.equals(other) for other in seen):
                seen.append(value)
                yield value


def _start_of_mlp(trace: Trace, last: str) -> Tap | None:
    """What the MLP reads, found from the module that returns its addend back to the norm before it, if there is one.

    That module is the whole MLP (Llama), a norm after it (Gemma 2), or the last of its layers (OPT, ViT).
    """
    path = last
    if path in trace.norms:
        path = _source(trace, path) or path
    while (before := _source(trace, path)) and before not in trace.norms and "att" not in before.lower():
        path = before
    read = trace.inputs.get(path)
    if read is None or path in trace.norms:
        return None
    same = [v.tap for v in trace.inputs.values() if v.equals(read) and v.tap.module not in trace.norms]
    same = [tap for tap in same if tap.module and "att" not in tap.module.lower()]
    if read.x.shape[1] != trace.inputs[""].x.shape[1]:
        return None
    return min(same, key=lambda tap: tap.module.count("."))


def _source(trace: Trace, path: str) -> str | None:
    """The module that returned what the module at `path`, or the outermost one with the same output, has read."""
    value = trace.outputs.get(path)
    around = [
        p for p, v in trace.outputs.items() if p and path.startswith(f"{p}.") and value and v.equals(value)
    ]
    read = trace.inputs.get(min(around, key=len, default=path))
    if read is None:
        return None
    before = [
        (p.count("."), p)
        for p, v in trace.outputs.items()
        if p and v.order < read.order and v.equals(read) and not trace.passes(p)
    ]
    return min(before)[1] if before else None


def named(reading: Reading, found: Block, trace: Trace, path: str, before: str | None) -> dict[str, Named]:
    """What other tools call this tensor. path: of the block, which ends in its number; before: of the block before it.

    Tensors are compared by their values, so that `mlp` is named as mlp_out where it is what the MLP adds.
    """
    value = trace.value(reading.tap)
    equal = [
        site
        for site in SITES
        if (other := found.sites.get(site))
        and (other == reading or (reading.plain and other.plain and value.equals(trace.value(other.tap))))
    ]
    block = int(path.rpartition(".")[2])
    if found.form == _NORMED and equal != ["resid_pre"]:
        lens = Named(
            None,
            "TransformerLens' classes differ in what they call the tensors of a block that norms the stream",
        )
    elif equal == ["mlp_in"] and not list(trace.given[found.sites["mlp_in"].tap.module][0].children()):
        lens = Named(None, "TransformerLens has no hook there in a block whose MLP is no module of its own")
    else:
        lens = lens_hook(equal[0] if equal else reading.tap.module, block)
    return {"transformer_lens": lens, "sparsify": _module(reading, trace, path, before)}


def _module(reading: Reading, trace: Trace, path: str, before: str | None) -> Named:
    """The module whose output the tensor is, as sparsify looks it up in the model without its head."""
    if not reading.plain:
        return Named(None, f"sparsify reads the outputs of modules, and this is {reading.arithmetic(path)}")
    if reading.tap.part == "output":
        return Named(f"{path}.{reading.tap.module}".rstrip("."))
    if reading.tap.module == "" and before is not None:
        return Named(before)
    value = trace.value(reading.tap)
    same = [
        p
        for p, v in trace.outputs.items()
        if p and v.equals(value) and trace.calls[p] == 1 and not trace.passes(p)
    ]
    if same:
        return Named(f"{path}.{min(same, key=lambda p: p.count('.'))}")
    return Named(None, f"sparsify reads the outputs of modules, and this is the {reading.arithmetic(path)}")
