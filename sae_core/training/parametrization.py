"""μP: the learning rate of each tensor in units of its own size, so that lr means the same at every width."""

import torch

from sae_core.model import SAE

_RELATIVE = ("log_threshold", "r_mag")  # logarithms: their change is a relative one already


@torch.no_grad()
def lr_scales(sae: SAE, denominator: float) -> dict[str, float]:
    """What Adam's lr is multiplied by for each parameter under `sae.parametrization=mup`; to be called after `init_`.

    Adam moves every entry of a tensor by about its lr in each step, whatever the size of the gradient. Features are
    learned equally fast at every width if each weight moves by the same share of itself (the spectral condition of
    Yang, Simon and Bernstein 2023, arXiv 2310.17813, of which μP for Adam, Yang et al. 2022, arXiv 2203.03466, table 3,
    is a case). So lr is that share, and each tensor's own lr is lr times the rms of its entries:

        W_dec     unit rows                              lr/√d
        W_enc     s·W_dec at the start                   lr·s/√d
        b_pre     in units of the inputs                 lr·σ,     σ² = mean‖x − x̄‖²/d
        b_enc, b_mag     in units of the pre-activations lr·s·σ
        log_threshold, r_mag      logarithms             lr

    `init_scale=norm` sets s so that x̂ starts at the norm of x. x̂ is a sum over the active latents, so this is what the
    width enters by: s = 2d/n if half of all latents are active (relu), and s ≈ d/(2k ln(n/k)) for the k largest of n.
    For relu, with n → ∞, that is the table of Yang et al.: the readout's multiplier 1/n, moved into the encoder, since
    ReLU(az) = a·ReLU(z). Then z_j and W_dec[j] change by the share lr, and so does x̂.

    The coordinate check is `python -m benchmarks.coordinate_check`. For topk at a fixed k, s falls with n as 1/ln(n/k)
    only, and μP asks for next to no change of lr with n. That lr* falls as 1/√n (Gao et al. 2024, Fig. 3) is a matter
    of noise, not of width: each latent averages its gradient over the B·k/n tokens of a batch on which it is active,
    and with Adam the lr of equal noise grows with the root of that number (Malladi et al. 2022, arXiv 2205.10287).
    """
    d = sae.W_dec.shape[1]
    entry = float(sae.W_enc.double().pow(2).mean().sqrt())
    s, sigma = entry * d**0.5, (denominator / d) ** 0.5
    scales = {"W_enc": entry, "W_dec": d**-0.5, "b_pre": sigma}
    others = (name for name, _ in sae.named_parameters() if name not in scales)
    return scales | {name: 1.0 if name in _RELATIVE else s * sigma for name in others}
