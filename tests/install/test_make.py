"""`make test` and `make test-all` succeed if every leg does, and otherwise say at the end which leg failed and how.

A stand-in for Python plays pytest: whole suites are too long for a test of what runs them.
"""

import os
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[2] / "Makefile"
STAND_IN = """#!/bin/bash
case "$*" in
  *tests.cost*) ;;
  *--ignore*) echo main interprets: ${TRITON_INTERPRET:-no}; exit ${MAIN:-0} ;;
  *tests/kernels/interp) echo interp interprets: ${TRITON_INTERPRET:-no}; exit ${INTERP:-0} ;;
  *tests/sweeps/slurm) echo slurm; exit ${SLURM:-0} ;;
  *) exit 9 ;;
esac
"""


@pytest.fixture
def made(tmp_path):
    """A function that makes a target where each leg exits with the code of the given name."""
    for name in (".venv/bin/python", ".venv/peers/ready", ".venv/dev"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(STAND_IN)
        (tmp_path / name).chmod(0o755)

    def make(target, **codes):
        return subprocess.run(
            ["make", "-f", MAKEFILE, "-o", ".venv/dev", "-o", ".venv/peers/ready", target],
            cwd=tmp_path,
            env={**os.environ, **codes, "TMPDIR": str(tmp_path), "MAKEFLAGS": "", "MAKELEVEL": "0"},
            capture_output=True,
            text=True,
        )

    return make


@pytest.mark.parametrize("target", ["test", "test-all"])
@pytest.mark.parametrize("codes", [{}, {"INTERP": "5"}])
def test_all_legs_succeed(made, target, codes):
    done = made(target, **codes)
    assert (done.returncode, done.stderr) == (0, "")
    assert "main interprets: no\n" in done.stdout and "interp interprets: 1\n" in done.stdout
    assert ("slurm\n" in done.stdout) == (target == "test-all")


@pytest.mark.parametrize(("leg", "code"), [("MAIN", "1"), ("INTERP", "3"), ("SLURM", "1")])
def test_a_leg_fails(made, leg, code):
    done = made("test-all", **{leg: code})
    assert done.returncode != 0
    last, output = done.stdout.split("pytest ")[-1].splitlines()
    assert last.endswith(f"exited with {code}, and its last lines were") and output.startswith(leg.lower())
