"""Random language models of a few blocks, a word tokenizer, and a text in its words, as a user has them on disk."""

import dataclasses

import numpy as np
import torch

WORDS = [f"w{i}" for i in range(60)]
WIDTH, BLOCKS = 32, 4


def save_llama(folder):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS) + 2,
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=BLOCKS,
        num_attention_heads=4,
        max_position_embeddings=64,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    _save_tokenizer(folder, bos_token="<bos>", unk_token="<unk>")
    return folder


def save_bert(folder):
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(WORDS) + 3,
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=BLOCKS,
        num_attention_heads=4,
        max_position_embeddings=16,
    )
    BertForMaskedLM(config).save_pretrained(folder)
    _save_tokenizer(folder, cls_token="[CLS]", sep_token="[SEP]", unk_token="<unk>")
    return folder


def save_text(folder, documents=12, words=40):
    """`documents` files of `words` words and more; the last is a copy of the first."""
    distinct = documents - 1
    for i in range(documents):
        found = np.random.default_rng(i % distinct).choice(WORDS, size=words + 7 * (i % distinct))
        (folder / f"{i:02d}.txt").write_text(" ".join(found))
    return folder


def overrides(cfg, data="smollm2"):
    """The command line of a HarvestConfig."""
    values = {key: "null" if value in (None, "") else value for key, value in dataclasses.asdict(cfg).items()}
    words = [
        f"data.harvest.{key}={value}" for key, value in values.items() if key not in ("license", "source")
    ]
    return [f"data={data}", *words]


def _save_tokenizer(folder, **special):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate([*special.values(), *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
