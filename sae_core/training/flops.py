"""Training compute of one token, in both conventions."""

from sae_core.config import RANKED, SAEConfig


def dense_per_token(n: int, d: int) -> float:
    """12·n·d FLOPs: encoder and decoder (2·n·d parameters), 2 FLOPs each forward and 4 backward."""
    return 12.0 * n * d


def sparse_per_token(sae: SAEConfig, d: int) -> float:
    """What a step really computes, without AuxK: 2·n·d + 8·k·d FLOPs for topk and batchtopk.

    The encoder's product; decode, d_vals, d_W_dec and d_W_enc touch k rows each, 4k under multi_topk. relu and jumprelu
    are dense, 12·n·d; gated decodes twice, which is 4·n·d more.
    """
    n, k = sae.n_latents, sae.k or 0
    if sae.activation in RANKED:
        return 2.0 * n * d + 8.0 * k * d * (4 if sae.multi_topk else 1)
    return (16.0 if sae.activation == "gated" else 12.0) * n * d


def auxk_per_token(n_dead: int, d: int, k_aux: int, by_gathers: bool) -> float:
    """What AuxK's step computes besides: 10·n_dead·d FLOPs, or 2·n_dead·d + 8·k_aux·d where it gathers.

    Both encode all dead latents, 2·n_dead·d. Decoding and the three gradients (of z, W_dec and W_enc) are products over
    the dead latents, or by gathers touch the k_aux rows chosen for a token. by_gathers: see `auxk.by_gathers`.
    """
    return 2.0 * n_dead * d + 8.0 * (k_aux if by_gathers else n_dead) * d
