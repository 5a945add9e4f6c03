"""What a run is: the frozen settings that decide its curve, and the checks that refuse impossible ones."""

from dataclasses import asdict, dataclass, field, replace
from math import inf
from typing import Any

from sae_core.errors import ConfigError


@dataclass(frozen=True)
class SAEConfig:
    """The autoencoder. Defaults are Gao et al. 2024, appendix A."""

    n_latents: int = 0  # n; 0 means "not given" and is refused
    k: int = 0  # active latents per token
    activation: str = "topk"
    auxk_coef: float = 1 / 32  # α of L + α·L_aux; 0 turns AuxK off
    k_aux: int | None = None  # None: the power of two nearest to d_model / 2
    dead_tokens: int = 10_000_000  # a latent silent for this many tokens is dead
    encoder_bias: bool = False  # b_enc; no effect on the MSE in the paper (appendix C)
    init_scale: str = (
        "norm"  # "norm": reconstructions start at the inputs' norm; "tied": encoder = decoderᵀ as is
    )


@dataclass(frozen=True)
class TrainConfig:
    """One optimizer run. The learning rate is constant, so every prefix of a run is a run at that budget."""

    lr: float = 0.0  # 0 means "not given" and is refused
    lr_schedule: str = "constant"
    batch_tokens: int = 131_072  # B
    max_tokens: int = 0  # budget D; 0 means "not given" and is refused
    stop: str = "budget"  # "budget": at max_tokens; "converged": at ε, or at max_tokens if that comes first
    epsilon: float = 0.01  # ε of the convergence criterion
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_eps: float = 6.25e-10
    ema: float = 0.999
    clip_grad: float | None = None  # global norm; None: off
    evals_per_doubling: int = 4  # evaluations per doubling of the tokens seen
    first_eval_tokens: int = 16_384

    @property
    def budget(self) -> int:
        """Tokens of the whole steps that fit into max_tokens: where a run ends at the latest."""
        return self.max_tokens // self.batch_tokens * self.batch_tokens


@dataclass(frozen=True)
class DataKey:
    """Which tokens, in which order: all that a run's result can depend on of its data."""

    fingerprint: str
    d_model: int
    shuffle_seed: int = 0


@dataclass(frozen=True)
class RunConfig:
    data: DataKey
    sae: SAEConfig = field(default_factory=SAEConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    seed: int = 0  # of the SAE's initialisation

    def resolved(self) -> "RunConfig":
        """The same run with every default that depends on the data written out."""
        if self.sae.k_aux is not None:
            return self
        return replace(self, sae=replace(self.sae, k_aux=default_k_aux(self.data.d_model)))

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RunConfig":
        return cls(
            data=DataKey(**values["data"]),
            sae=SAEConfig(**values["sae"]),
            train=TrainConfig(**values["train"]),
            seed=values["seed"],
        )


def default_k_aux(d_model: int) -> int:
    """The power of two nearest to d_model / 2 (Gao et al. 2024, A.2: "close to d_model / 2")."""
    half = max(d_model / 2, 1)
    lower = 1 << (int(half).bit_length() - 1)
    return lower if half / lower < 2 * lower / half else 2 * lower


def validate(run: RunConfig) -> None:
    """Raise ConfigError with one sentence if this run cannot be trained as written."""
    sae, train, d = run.sae, run.train, run.data.d_model
    for name, value in (
        ("sae.n_latents", sae.n_latents),
        ("sae.k", sae.k),
        ("sae.dead_tokens", sae.dead_tokens),
        ("train.batch_tokens", train.batch_tokens),
        ("train.max_tokens", train.max_tokens),
        ("train.evals_per_doubling", train.evals_per_doubling),
        ("train.first_eval_tokens", train.first_eval_tokens),
    ):
        if value < 1:
            raise ConfigError(f"{name} is {value}; it must be at least 1.")
    if sae.k > sae.n_latents:
        raise ConfigError(
            f"sae.k = {sae.k} is larger than sae.n_latents = {sae.n_latents}: lower k or raise n_latents."
        )
    if sae.k >= d:
        raise ConfigError(f"sae.k = {sae.k} must be below d_model = {d}: k = d reconstructs anything.")
    if sae.k_aux is not None and sae.k_aux < 1:
        raise ConfigError(f"sae.k_aux is {sae.k_aux}; it must be at least 1, or null for the default.")
    if train.batch_tokens > train.max_tokens:
        raise ConfigError(
            f"train.batch_tokens = {train.batch_tokens} is larger than train.max_tokens = {train.max_tokens}: "
            "not one optimizer step fits the budget."
        )
    _validate_numbers(run)


def _validate_numbers(run: RunConfig) -> None:
    sae, train = run.sae, run.train
    for name, ok, value, rule in (
        ("seed", 0 <= run.seed < 2**32, run.seed, "in [0, 2³²)"),
        ("data.shuffle_seed", 0 <= run.data.shuffle_seed < 2**32, run.data.shuffle_seed, "in [0, 2³²)"),
        ("train.lr", 0 < train.lr < inf, train.lr, "finite and above 0"),
        ("train.epsilon", 0 < train.epsilon < 1, train.epsilon, "between 0 and 1"),
        ("train.ema", 0 <= train.ema < 1, train.ema, "in [0, 1)"),
        ("train.adam_beta1", 0 <= train.adam_beta1 < 1, train.adam_beta1, "in [0, 1)"),
        ("train.adam_beta2", 0 <= train.adam_beta2 < 1, train.adam_beta2, "in [0, 1)"),
        ("train.adam_eps", 0 < train.adam_eps < inf, train.adam_eps, "above 0"),
        (
            "train.clip_grad",
            train.clip_grad is None or 0 < train.clip_grad < inf,
            train.clip_grad,
            "above 0, or null",
        ),
        ("sae.auxk_coef", 0 <= sae.auxk_coef < inf, sae.auxk_coef, "0 or above"),
        ("train.stop", train.stop in ("budget", "converged"), train.stop, "budget or converged"),
        ("train.lr_schedule", train.lr_schedule == "constant", train.lr_schedule, "constant"),
        ("sae.activation", sae.activation == "topk", sae.activation, "topk"),
        ("sae.init_scale", sae.init_scale in ("norm", "tied"), sae.init_scale, "norm or tied"),
    ):
        if not ok:
            raise ConfigError(f"{name} is {value}; it must be {rule}.")
