"""Kernels broken on purpose: does the interpreter leg notice? `make mutants` runs every one, about 5 CPU minutes.

    python -m tests.kernels.interp.mutants [text of a mutant, such as topk or int32]

Each mutant is one change of a kernel that a GPU would punish, by a wrong number or a crash, though it compiles. It is
made in a copy of the kernels, and the kernel's tests are run against the copy until one of them fails. A mutant that
survives is printed, and the exit code is then 1. The list has not been run to its end yet.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Mutant:
    """A change of kernels/<kernel>_triton.py: `before`, at its first place or at every one, becomes `after`."""

    kernel: str
    what: str
    before: str
    after: str
    tests: str = ""  # a kernel whose tests they are, where it is another one

    def applied(self, source: str) -> str:
        if self.before not in source:
            raise SystemExit(f"{self}: kernels/{self.kernel}_triton.py has no {self.before!r} any more.")
        return source.replace(self.before, self.after, 1)

    def __str__(self) -> str:
        return f"{self.kernel}: {self.what}"


MUTANTS = [
    Mutant("topk", "columns beyond the row count as 0 in a group", 'other=float("-inf")', "other=0.0"),
    Mutant("topk", "columns beyond the row are undefined in a group", ', other=float("-inf")', ""),
    Mutant(
        "topk",
        "a column too many in a group",
        "mask=column < n, other=float",
        "mask=column <= n, other=float",
    ),
    Mutant("topk", "NaN does not spread through a group", "PropagateNan.ALL", "PropagateNan.NONE"),
    Mutant("topk", "groups beyond the last are stored", ",\n        mask=group < groups,\n    )", ",\n    )"),
    Mutant("topk", "negative numbers in ascending order", "bits < 0, -magnitude", "bits < 0, magnitude"),
    Mutant("topk", "every NaN is infinity", "magnitude > INF, MAX", "magnitude > INF, INF"),
    Mutant("topk", "ties go to the higher place", "(LOW - place.to(KEY))", "place.to(KEY)"),
    Mutant(
        "topk",
        "the groups chosen are not in order",
        "tl.sort(place_of(best, SHIFT))",
        "place_of(best, SHIFT)",
    ),
    Mutant(
        "topk",
        "candidates beyond the row",
        "tl.where(column < n, ordered(z, INF, MAX), -MAX)",
        "ordered(z, INF, MAX)",
    ),
    Mutant("topk", "the last block of maxima is left out", "range(1, BLOCKS)", "range(1, BLOCKS - 1)"),
    Mutant("topk", "int32 offsets of rows", "b = tl.program_id(0).to(tl.int64)", "b = tl.program_id(0)"),
    Mutant(
        "gather_sum",
        "undefined coefficients at padding",
        "mask=live, other=0.0).to(ACC)",
        "mask=live).to(ACC)",
    ),
    Mutant("gather_sum", "undefined rows at padding", "& inside[None, :], other=0.0", "& inside[None, :]"),
    Mutant("gather_sum", "undefined indices beyond k", "mask=j < k, other=-1)", "mask=j < k)"),
    Mutant(
        "gather_sum",
        "rows of padding are read",
        "mask=live[:, None] & inside[None, :]",
        "mask=inside[None, :]",
    ),
    Mutant("gather_sum", "int32 offsets of the table", "other=-1).to(tl.int64)", "other=-1)"),
    Mutant(
        "gather_sum",
        "int32 offsets of the output",
        "b = tl.program_id(0).to(tl.int64)",
        "b = tl.program_id(0)",
    ),
    Mutant("gather_sum", "a row of the output begins in the one before", "out + b * d", "out + b * (d - 1)"),
    Mutant(
        "gather_sum_mse",
        "the bias' columns beyond d",
        "inside = column < d\n    acc = w",
        "inside = column <= d\n    acc = w",
    ),
    Mutant(
        "gather_sum_mse", "undefined columns of x", "mask=inside, other=0.0).to(ACC)", "mask=inside).to(ACC)"
    ),
    Mutant(
        "gather_sum_mse",
        "what other threads stored, without a barrier",
        "tl.sum(acc * acc))",
        "tl.sum(acc * tl.load(error + b * d + column, mask=inside, other=0.0)))",
    ),
    Mutant(
        "gather_sum_mse", "slabs of one row overlap", "tl.num_programs(0) + b", "(tl.num_programs(0) - 1) + b"
    ),
    Mutant(
        "gather_dot",
        "padding is not 0 where G is infinite",
        "tl.where(live, tl.sum(acc, axis=1), 0.0)",
        "tl.sum(acc, axis=1)",
    ),
    Mutant(
        "gather_dot",
        "dots beyond k are stored",
        "tl.store(out + b * k + j, dots, mask=j < k)",
        "tl.store(out + b * k + j, dots)",
    ),
    Mutant("gather_dot", "the last columns are left out", "range(0, d, BD)", "range(0, d - BD, BD)"),
    Mutant(
        "gather_dot",
        "int32 offsets of G",
        "(tl.program_id(0) // blocks).to(tl.int64)",
        "tl.program_id(0) // blocks",
    ),
    Mutant(
        "rowwise_adam",
        "int32 offsets of the tables",
        "row = tl.program_id(0).to(tl.int64)",
        "row = tl.program_id(0)",
    ),
    Mutant(
        "rowwise_adam",
        "undefined gradients beyond d",
        "gradient = tl.load(g + row * d + column, mask=column < d, other=0.0)",
        "gradient = tl.load(g + row * d + column, mask=column < d)",
    ),
    Mutant(
        "rowwise_adam",
        "moments stored beyond d",
        "tl.store(m + at, first, mask=inside)",
        "tl.store(m + at, first)",
    ),
    Mutant(
        "rowwise_adam",
        "undefined weights in the projection",
        "w = tl.load(p + at, mask=inside, other=0.0)",
        "w = tl.load(p + at, mask=inside)",
    ),
    Mutant(
        "segment_items", "an entry too many in an item", "C), mask=live)", "C) + 1, mask=live)", "segment_sum"
    ),
    Mutant(
        "segment_items",
        "a short latent gets a slot",
        "tl.where(several, slot + q, -1)",
        "slot + q",
        "segment_sum",
    ),
    Mutant(
        "segment_sum",
        "entries of the next latent are read",
        "mask=live, other=0.0).to(ACC),)",
        "mask=t >= 0, other=0.0).to(ACC),)",
    ),
    Mutant(
        "segment_sum",
        "the last item of a program is left out",
        "begin + ITEMS, tl.load",
        "begin + ITEMS - 1, tl.load",
    ),
    Mutant(
        "segment_sum",
        "items beyond the last are summed",
        "tl.minimum(begin + ITEMS, tl.load(first + n))",
        "begin + ITEMS",
    ),
    Mutant(
        "segment_sum", "slots beyond the latent are added", "(slot < end)[:, None]", "(slot <= end)[:, None]"
    ),
    Mutant("segment_sum", "int32 offsets of X", "mask=live, other=0).to(tl.int64)", "mask=live, other=0)"),
    Mutant(
        "segment_sum_adam", "int32 offsets of X", "mask=live, other=0).to(tl.int64)", "mask=live, other=0)"
    ),
    Mutant("segment_sum_adam", "a part updates its latent", "if slot < 0:", "if slot < 1:"),
    Mutant(
        "segment_sum_adam",
        "undefined rows of X",
        "mask=touched, other=0.0).to(tl.float32),)",
        "mask=touched).to(tl.float32),)",
    ),
    Mutant(
        "segment_sum_adam",
        "a slot too many",
        "tl.where(slot + j < end, d, 0)",
        "tl.where(slot + j <= end, d, 0)",
    ),
]


def survives(mutant: Mutant, folder: Path) -> bool:
    """Whether the tests of the mutant's kernel pass in `folder`, which has a copy of the kernels and of their tests."""
    file = f"kernels/{mutant.kernel}_triton.py"
    source = (ROOT / file).read_text()
    (folder / file).write_text(mutant.applied(source))
    tests = f"tests/kernels/interp/test_{mutant.tests or mutant.kernel}_triton.py"
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", tests]
    env = {
        **os.environ,
        "TRITON_INTERPRET": "1",
        "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    (folder / file).write_text(source)
    if done.returncode not in (0, 1):
        raise SystemExit(
            f"{mutant}: pytest ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr}"
        )
    return done.returncode == 0


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("text", nargs="?", default="", help="only mutants that contain it")
    text = p.parse_args().text
    chosen = [mutant for mutant in MUTANTS if text in str(mutant)]
    if not chosen:
        p.error(f"No mutant contains {text!r}.")
    survivors = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("kernels", "tests", "pyproject.toml"):
            whole = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            whole(ROOT / part, folder / part)
        for mutant in chosen:
            alive = survives(mutant, folder)
            survivors += alive
            print(f"{'SURVIVED' if alive else 'caught':8}  {mutant}", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} mutants are caught")
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main())
