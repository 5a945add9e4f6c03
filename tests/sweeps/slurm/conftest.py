"""A real SLURM cluster for each xdist worker that has one of these tests."""

from collections.abc import Iterator

import pytest

from tests.sweeps.slurm.cluster import Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    reason = Cluster.install()
    if reason:
        pytest.skip(reason)
    with Cluster() as running:
        yield running


@pytest.fixture(autouse=True)
def cleared(cluster: Cluster) -> Iterator[None]:
    """What a test leaves – jobs, dead nodes – is gone before the next."""
    yield
    cluster.clear()
