"""Format the rows of a kernel benchmark as a table, and compare the goals with the measurements."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.kernels.case import GOAL, TOPK_GOAL, Shape
from benchmarks.kernels.peers import OPENAI
from benchmarks.kernels.steps import DENSE, ENCODER
from benchmarks.kernels.works import OURS

_PASSES = ("gather_sum", "gather_sum_mse", "gather_dot", "segment_sum", "segment_sum_dot")
Row = Mapping[str, Any]


def as_table(rows: Sequence[Row]) -> str:
    """Format the rows of one shape as a table."""
    lines = [
        f"{'op':<18}{'who':<24}{'skew':>5}{'ms':>10}{'least':>10}{'most':>10}{'GB/s':>8}{'share':>8}{'error':>9}"
    ]
    for row in rows:
        if row["op"] == "ceilings":
            lines.append(
                f"{row['dtype']}: copy {row['copy_gb_s']:,.0f} GB/s, random rows of W {row['table_gb_s']:,.0f}, "
                f"of X {row['batch_gb_s']:,.0f}, encoder product {row['tflop_s']:,.2f} TFLOP/s"
            )
            continue
        skew = f"{row['skew']:5.1f}" if "skew" in row else " " * 5
        head = f"{row['op']:<18}{row['who']:<24}{skew}"
        if "failed" in row:
            lines.append(f"{head}  failed: {row['failed']}")
            continue
        times = "".join(f"{row[name]:10.3f}" for name in ("ms", "least", "most"))
        speed = f"{row['gb_s']:8,.0f}{row['share']:8.2f}" if "gb_s" in row else " " * 16
        error = f"{row['max_rel_err']:9.0e}" if row.get("max_rel_err") is not None else ""
        lines.append((head + times + speed + error).rstrip())
    return "\n".join(lines)


def goals(rows: Sequence[Row]) -> list[str]:
    """One line per goal: the goal and the measurement, or the reason why there is none."""
    goal, topk = _of(rows, GOAL), _of(rows, TOPK_GOAL)
    step, select = _ms(goal, "step", OURS), _ms(topk, "topk", OURS)
    shares = [row["share"] for row in goal if row["op"] in _PASSES and row["who"] == OURS and "share" in row]
    skewed = [_over(_ms(goal, op, OURS, 1.2), _ms(goal, op, OURS, 0.0)) for op in _PASSES]
    worst = max((value for value in skewed if value is not None), default=None)
    return [
        _judged(
            goal,
            "smallest share of a pass of the gather and copy ceilings",
            min(shares, default=None),
            "≥",
            0.8,
        ),
        _judged(topk, "ms of topk at (4096, 131072)", select, "≤", 0.5),
        _judged(topk, "torch.topk over topk", _over(_ms(topk, "topk", "torch.topk"), select), "≥", 8),
        _judged(goal, "step of OpenAI's kernels over ours", _over(_ms(goal, "step", OPENAI), step), "≥", 4),
        _judged(goal, "step of dense autograd over ours", _over(_ms(goal, "step", DENSE), step), "≥", 6),
        _judged(
            goal,
            "share of the encoder's product in our step",
            _over(_ms(goal, "step", ENCODER), step),
            "≥",
            0.5,
        ),
        _judged(goal, "a pass at skew 1.2 over uniform, the worst", worst, "≤", 1.2),
    ]


def _of(rows: Sequence[Row], shape: Shape) -> list[Row]:
    sizes = {"d": shape.d, "n": shape.n, "k": shape.k, "B": shape.B, "dtype": "bfloat16"}
    return [row for row in rows if all(row.get(key) == value for key, value in sizes.items())]


def _ms(rows: Sequence[Row], op: str, who: str, skew: float | None = None) -> float | None:
    asked = (op, who, skew)
    return next(
        (r["ms"] for r in rows if (r["op"], r.get("who"), r.get("skew")) == asked and "ms" in r), None
    )


def _over(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a / b


def _judged(rows: Sequence[Row], what: str, value: float | None, rule: str, bound: float) -> str:
    """The line of one goal. rows: the rows measured at the goal's shape."""
    asked = f"{what} {rule} {bound}"
    if value is None:
        why = "a row that it needs is missing" if rows else "its shape is not, in bfloat16"
        return f"{asked}: not measured, {why}"
    met = value >= bound if rule == "≥" else value <= bound
    return f"{asked}: {value:.3f}, {'met' if met else 'missed'}"
