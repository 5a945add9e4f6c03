"""A tiny language model and a folder of text, made once for each module that harvests from them."""

import pytest

from tests.sae_core.data.tiny_models import save_llama, save_text


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    return save_llama(tmp_path_factory.mktemp("lm"))


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return save_text(tmp_path_factory.mktemp("text"))
