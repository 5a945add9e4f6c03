"""One real SLURM cluster for all tests of this folder; `pytest --dist loadgroup` keeps them on one xdist worker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("slurm"))


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
