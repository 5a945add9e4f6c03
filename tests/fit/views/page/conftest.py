"""The pages that several tests read, each made once. Only the first has every figure: all of them take 10 seconds."""

import pytest

from fit.views.figures import gallery
from fit.views.figures.gallery import FIGURES
from fit.views.page.page import page
from tests.fit.views.page import chromium
from tests.fit.views.page.page_cases import (
    GPT4,
    GPT4_FIGURES,
    MESS_FIGURES,
    REGIMES,
    REGIMES_FIGURES,
    SMOLLM2,
    fits_of_any_table,
    messy,
    read,
)


@pytest.fixture(scope="session")
def smollm2():
    return page(read(SMOLLM2))


@pytest.fixture(scope="session")
def regimes():
    with pytest.MonkeyPatch.context() as patch:
        _draw_only(patch, REGIMES_FIGURES)
        return page(read(REGIMES))


@pytest.fixture(scope="session")
def mess(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        _draw_only(patch, MESS_FIGURES)
        folder = messy(tmp_path_factory.mktemp("mess"))
        return page(read(folder, fits=fits_of_any_table(folder)))


@pytest.fixture(scope="session")
def gpt4():
    with pytest.MonkeyPatch.context() as patch:
        _draw_only(patch, GPT4_FIGURES)
        return page(read(GPT4, {"n_latents": "n", "k": "k", "nmse": "loss"}))


@pytest.fixture
def few_figures(monkeypatch):
    """One figure, where a test is about something else."""
    _draw_only(monkeypatch, ("curves",))


def _draw_only(patch, names):
    patch.setattr(gallery, "FIGURES", {name: FIGURES[name] for name in names})


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    reason = chromium.install()
    if reason:
        pytest.skip(reason)
    return chromium.Browser(tmp_path_factory.mktemp("chromium"))
