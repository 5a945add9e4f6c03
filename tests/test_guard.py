"""Our `kernels` must not be taken for Hugging Face's: a regular package of that name breaks transformers."""

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
    """As on a GPU machine: no hydra, submitit, pandas, scipy, matplotlib, transformers."""
    code = """
import sys
for name in ("hydra", "omegaconf", "submitit", "pandas", "scipy", "matplotlib", "transformers", "rich", "yaml"):
    sys.modules[name] = None
import kernels.gather_sum, kernels.segment_sum, kernels.gather_dot, kernels.plan, kernels.reference
import sae_core.training.pack, sae_core.training.checkpoint
import sae_core.data.store, sae_core.data.harvest, sae_core.data.synthetic
assert not any(name.split(".")[0] in ("sweeps", "fit") for name in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_fit_reads_tables_only():
    code = """
import sys
import fit.views.verbs.fit, fit.views.verbs.figures
loaded = {name.split(".")[0] for name in sys.modules}
others = {"torch", "triton", "hydra", "omegaconf", "submitit", "sae_core", "sweeps", "kernels"} & loaded
assert not others, others
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
