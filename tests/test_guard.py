"""Guards against the libraries around ours: Hugging Face's package named `kernels`, and what a GPU machine lacks.

Which of our packages may import which is checked by `make lint`, from the contracts in pyproject.toml.
"""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BUILD_GPT2 = """
import sys
from transformers import GPT2Config, GPT2LMHeadModel
import torch
model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=32))
model(torch.zeros(1, 4, dtype=torch.long), labels=torch.zeros(1, 4, dtype=torch.long)).loss.backward()
file = getattr(sys.modules.get("kernels"), "__file__", None)
assert file is None or not file.startswith(sys.argv[1]), file
"""


def test_transformers_works_from_the_repository_root():
    pytest.importorskip("transformers", reason="transformers is not installed; `make test` installs it")
    done = subprocess.run(
        [sys.executable, "-c", BUILD_GPT2, str(ROOT)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_kernels_stays_a_namespace_and_the_version_below_theirs():
    assert not (ROOT / "kernels" / "__init__.py").exists()
    assert tuple(map(int, version("saescale").split(".")[:2])) < (0, 9)


def test_kernels_and_sae_core_import_with_torch_alone():
    """A GPU machine may have no hydra, submitit, pandas, scipy, matplotlib or transformers."""
    code = """
import sys
for name in ("hydra", "omegaconf", "submitit", "pandas", "scipy", "matplotlib", "transformers", "rich", "yaml"):
    sys.modules[name] = None
import kernels.gather_sum, kernels.segment_sum, kernels.gather_dot, kernels.plan, kernels.reference
import sae_core.training.pack, sae_core.training.checkpoint
import sae_core.data.disk.store, sae_core.data.lm.harvest, sae_core.data.synthetic
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
