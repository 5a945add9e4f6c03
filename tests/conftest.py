"""What every test shares: one torch thread, and a tiny study that trains in a second or two."""

import os

import pytest
import torch
from hypothesis import HealthCheck, settings

from sae_core.data.disk.import_array import from_array

pytest_plugins = ["tests.cost"]
torch.set_num_threads(1)
# In a worker of pytest-xdist something has asked for 80 columns, as no user has.
os.environ.pop("COLUMNS", None)
# Examples are about values, and a busy machine takes any time for one: no deadline. On a cold install the first example
# also loads torch's operators from disk: too_slow fired there, and not on a rerun.
settings.register_profile("saescale", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("saescale")

TINY = [
    "data.synthetic.d_model=16",
    "data.synthetic.n_features=300",
    "data.synthetic.l0=3",
    "data.synthetic.tail=false",
    "data.synthetic.held_out=256",
    "sae.n_latents=32",
    "sae.k=2",
    "train.lr=3e-3",
    "train.batch_tokens=64",
    "train.max_tokens=1024",
    "train.first_eval_tokens=128",
    "launcher.heartbeat_s=0.1",
]


def pytest_terminal_summary(terminalreporter):
    """What the sweeps on a real SLURM came to, a line a test."""
    lines = [
        f"{report.nodeid.rpartition('::')[2]}: {text}"
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, text in getattr(report, "user_properties", ())
        if name == "slurm" and report.when == "teardown"
    ]
    if lines:
        terminalreporter.section("sweeps on a real SLURM")
        terminalreporter.write_line("\n".join(lines))


@pytest.fixture(scope="module")
def compiler_cache(tmp_path_factory):
    """Triton keeps what it compiles in a folder of this module's: nothing of an earlier run is taken for ours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("triton")))
        yield


@pytest.fixture
def tiny(tmp_path):
    """Overrides of a study under tmp_path; later overrides of the same key win."""

    def overrides(*more: str) -> list[str]:
        given = {o.split("=", 1)[0].lstrip("+") for o in more}
        return [o for o in TINY if o.split("=", 1)[0] not in given] + [f"runs={tmp_path}", "name=tiny", *more]

    return overrides


@pytest.fixture
def a_store(tmp_path):
    """A small activation store on disk: 900 training and 100 held-out rows of width 16."""
    x = torch.randn(1000, 16, generator=torch.Generator().manual_seed(0))
    return from_array(x, tmp_path / "store", held_out=100, shard_rows=400)
