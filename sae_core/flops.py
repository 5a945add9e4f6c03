"""Training compute of one token, in both conventions."""


def dense_per_token(n: int, d: int) -> float:
    """12·n·d FLOPs: encoder and decoder (2·n·d parameters), 2 FLOPs each forward and 4 backward."""
    return 12.0 * n * d


def sparse_per_token(n: int, d: int, k: int) -> float:
    """2·n·d + 8·k·d FLOPs: the encoder's product; decode, d_vals, d_W_dec and d_W_enc touch k rows each."""
    return 2.0 * n * d + 8.0 * k * d


def auxk_per_token(n_dead: int, d: int) -> float:
    """8·n_dead·d FLOPs: AuxK's decode and its three gradients, computed densely over the dead latents."""
    return 8.0 * n_dead * d
