"""Models of text and images are read in the stack that reads text; a failed forward pass is one sentence."""

import pytest
import torch

from sae_core.data.configs import Site
from sae_core.errors import DataError
from tests.sae_core.data.tiny_models import save_llama

pytest.importorskip("transformers", reason="needs transformers: pip install 'saescale[lm]'")

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}


def save_gemma3(folder):
    """As many blocks in the stack that reads images as in the one that reads text."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    text = SIZES | {"vocab_size": 62, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0}
    vision = SIZES | {"hidden_size": 16, "image_size": 16, "patch_size": 8}
    torch.manual_seed(0)
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=61)
    Gemma3ForConditionalGeneration(config).save_pretrained(folder)


def test_a_model_of_text_and_images_is_read_where_it_reads_text(tmp_path):
    from sae_core.data.lm.language_model import load_language_model
    from sae_core.data.lm.model_files import ModelFiles

    save_llama(tmp_path)  # its tokenizer
    save_gemma3(tmp_path)
    lm = load_language_model(ModelFiles(str(tmp_path)), [Site(2, "mlp_out")], "float32", "cpu")
    assert lm.blocks_name == "language_model.layers" and lm.widths == [32]
    assert lm.places[0].names["sparsify"].name == "language_model.layers.1.post_feedforward_layernorm"


def test_a_failed_forward_pass_is_one_sentence():
    from transformers import RobertaConfig, RobertaModel

    from sae_core.data.lm.language_model import LanguageModel

    config = RobertaConfig(vocab_size=64, max_position_embeddings=22, pad_token_id=1, **SIZES)
    lm = LanguageModel(RobertaModel(config), None, [Site(2)], torch.float32, torch.device("cpu"), "")
    ids = torch.arange(2, 24)[None]
    assert lm.activations(ids[:, :20])[0].shape == (1, 20, 32)
    with pytest.raises(
        DataError, match=r"contexts of 22 tokens, and its table has 22 positions, .*: lower context"
    ):
        lm.activations(ids)
    with pytest.raises(
        DataError, match="has the token 64, .* 64 rows: the tokenizer is larger than the model"
    ):
        lm.activations(torch.tensor([[3, 64]]))


def test_a_gated_model_asks_for_a_token():
    from sae_core.data.lm.model_files import loading

    with pytest.raises(DataError, match="'a/b' is gated: accept its terms .* set HF_TOKEN"), loading("a/b"):
        raise OSError("You are trying to access a gated repo.\nMake sure to have access to it.")
