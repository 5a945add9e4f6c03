"""Opens exports with the tools they are for. Run by `.venv/peers`, which has them: `python peers_open.py JOB.pt`

JOB.pt: {"x": (rows, d), "folders": {key: (tool, folder)}}. Writes {key: (reconstruction, latents)} to JOB.pt.out, with
the versions of the tools under "versions". It imports nothing of saescale.
"""

import importlib.metadata
import sys

import torch

TOOLS = {
    "saelens": "sae-lens",
    "sparsify": "eai-sparsify",
    "dictionary_learning": "dictionary-learning",
    "saebench": "sae-bench",
}


def saelens(folder, x):
    from sae_lens import SAE

    sae = SAE.load_from_disk(folder)
    return sae(x), sae.encode(x)


def sparsify(folder, x):
    from sparsify import SparseCoder

    coder = SparseCoder.load_from_disk(folder)
    latents = coder.encode(x)
    dense = torch.zeros(len(x), coder.num_latents)
    return coder.decode(latents.top_acts, latents.top_indices), dense.scatter_(
        1, latents.top_indices, latents.top_acts
    )


def dictionary_learning(folder, x):
    from dictionary_learning.utils import load_dictionary

    dictionary, _ = load_dictionary(folder, "cpu")
    return dictionary(x), dictionary.encode(x)


def saebench(folder, x):
    """It reads dictionary_learning's layout from the hub only: here the hub's download is a folder."""
    from sae_bench.custom_saes import topk_sae

    topk_sae.hf_hub_download = lambda repo_id, filename, **_: f"{repo_id}/{filename}"
    sae = topk_sae.load_dictionary_learning_topk_sae(
        folder, "ae.pt", "some/model", torch.device("cpu"), torch.float32, layer=3
    )
    return sae(x), sae.encode(x)


def main(path):
    torch.set_num_threads(1)
    job = torch.load(path)
    found = {"versions": {tool: importlib.metadata.version(name) for tool, name in TOOLS.items()}}
    with torch.no_grad():
        for key, (tool, folder) in job["folders"].items():
            reconstruction, latents = globals()[tool](folder, job["x"])
            found[key] = (reconstruction.clone(), latents.clone())
    torch.save(found, f"{path}.out")


if __name__ == "__main__":
    main(sys.argv[1])
