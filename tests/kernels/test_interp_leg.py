"""Runs tests/kernels/interp in a process of its own: Triton decides at import whether it interprets."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="this process interprets already")
def test_interpreter_leg():
    pytest.importorskip("triton")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/kernels/interp"],
        cwd=ROOT,
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    report = run.stdout + run.stderr
    if run.returncode == pytest.ExitCode.NO_TESTS_COLLECTED and (reason := re.search(r"SKIPPED .*", report)):
        pytest.skip(reason[0])
    assert run.returncode == 0 and re.search(r"\d+ passed", report), report
