"""What other tools call a tensor of a language model: TransformerLens' hook, sparsify's module path. No torch here."""

from dataclasses import dataclass

# TransformerLens' hook for a site, below `blocks.L.`: the part of the stream that the site is.
_HOOKS = {
    "resid_pre": "hook_resid_pre",
    "resid_mid": "hook_resid_mid",
    "resid_post": "hook_resid_post",
    "attn_out": "hook_attn_out",
    "mlp_out": "hook_mlp_out",
    "mlp_in": "mlp.hook_in",
}


@dataclass(frozen=True)
class Named:
    """A name, or the reason why there is none, as the end of a sentence."""

    name: str | None
    why: str | None = None


def lens_hook(site: str, block: int) -> Named:
    """The hook of a site at a block, counted from 0. A module's path is none of TransformerLens' names."""
    if site in _HOOKS:
        return Named(f"blocks.{block}.{_HOOKS[site]}")
    return Named(None, f"TransformerLens has no hook that is known to be the output of {site!r}")
