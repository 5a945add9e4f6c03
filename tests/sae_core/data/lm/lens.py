"""Run by the Python of .venv/peers: activations of tiny models as TransformerLens caches them, beside ours.

Prints JSON: {architecture: {site: [hook, largest difference / largest activation] or [reason]}}.
"""

import json
import sys
import tempfile

from tokenizers import Tokenizer, models
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from sae_core.data.configs import SITES, Site
from sae_core.errors import DataError
from tests.sae_core.data.lm.architectures import LAYER, language_model, model, tokens


def tokenizer(folder: str) -> PreTrainedTokenizerBase:
    """One that TransformerLens asks for, and loads again by its path; no text is read."""
    words = models.WordLevel({f"w{i}": i for i in range(64)}, unk_token="w0")
    names = {"bos_token": "w1", "eos_token": "w2", "unk_token": "w0", "pad_token": "w0"}
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words), **names).save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


def compared(kind: str, words: PreTrainedTokenizerBase) -> dict[str, list]:
    found: dict[str, list] = {}
    ids = tokens()
    whole = model(kind, "AutoModelForCausalLM", attn_implementation="eager")
    whole.config.architectures = [type(whole).__name__]
    bridge = TransformerBridge.boot_transformers(f"tiny/{kind}", hf_model=whole, tokenizer=words)
    _, cache = bridge.run_with_cache(ids)
    for site in SITES:
        try:
            lm = language_model(kind, [Site(LAYER, site)])
        except DataError as error:
            found[site] = [str(error)]
            continue
        name = lm.places[0].names["transformer_lens"]
        if (hook := name.name) is None:
            found[site] = [name.why]
            continue
        rows = lm.activations(ids)[0]
        try:
            theirs = cache[hook]
        except KeyError:
            found[site] = [f"no hook {hook}"]
            continue
        found[site] = [hook, float((rows - theirs).abs().max() / rows.abs().max())]
    return found


if __name__ == "__main__":
    out = {}
    words = tokenizer(tempfile.mkdtemp())
    for kind in sys.argv[1:]:
        try:
            out[kind] = compared(kind, words)
        except Exception as error:  # noqa: BLE001
            out[kind] = {"error": [f"{type(error).__name__}: {error}"[:300]]}
    print(json.dumps(out))
