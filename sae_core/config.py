"""The configuration of a run: the frozen settings that determine its curve, and checks that reject invalid ones."""

from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

from sae_core.errors import ConfigError

# Ranked: k latents per token (on average, for batchtopk) are active, selected by rank. Penalised: the weight λ of a
# sparsity penalty determines how many are active.
RANKED = ("topk", "batchtopk")
PENALISED = ("relu", "jumprelu", "gated")
INIT_SCALES = ("norm", "tied")
PARAMETRIZATIONS = ("standard", "mup")
PRECISIONS = ("fp32", "tf32", "bf16")
STOPS = ("budget", "converged", "predicted")
SCHEDULES = ("constant", "linear", "sqrt", "cosine")
_DECAY_SHARE = 0.2  # Hägele et al. 2024: longer decays gain little


@dataclass(frozen=True)
class SAEConfig:
    """Settings of the autoencoder. The defaults are those of Gao et al. 2024, appendix A."""

    n_latents: int = 0  # n; 0 means "not given" and is rejected
    k: int | None = None  # active latents per token; required by topk and batchtopk, invalid for the others
    activation: str = "topk"
    sparsity_coef: float | None = None  # λ of L + λ·S; required by relu, jumprelu and gated
    init_threshold: float = 1e-3  # initial θ of jumprelu, in units of the pre-activations
    bandwidth: float = 1e-3  # ε of jumprelu's straight-through gradient
    multi_topk: bool = False  # L(k) + L(4k)/8 in place of L(k)
    matryoshka: int = 1  # number of nested reconstructions, from the first n, n/2, n/4 … latents; 1: only n
    auxk_coef: float | None = (
        None  # α of L + α·L_aux; 0: off; None: 1/32 for topk and batchtopk, 0 for the others
    )
    k_aux: int | None = None  # None: the power of two nearest to d_model / 2
    dead_tokens: int = 10_000_000  # a latent that was inactive for more tokens than this is dead
    encoder_bias: bool | None = (
        None  # b_enc; None: relu, jumprelu and gated have one, topk and batchtopk none
    )
    init_scale: str = "norm"  # "norm": initial reconstructions have the inputs' norm; "tied": W_enc = W_dec
    # "standard": Adam's lr of all tensors is lr; "mup": lr is in units of each tensor, see training.parametrization
    parametrization: str = "standard"


@dataclass(frozen=True)
class TrainConfig:
    """Settings of the training. At a constant learning rate, each prefix of a run is a run with that budget."""

    lr: float = 0.0  # 0 means "not given" and is rejected
    lr_schedule: str = "constant"  # after the warm-up: constant, or then linear, sqrt or cosine to 0
    decay_share: float | None = None  # share of the budget in which the lr decays; None: 0.2 if it decays
    warmup_tokens: int = 0  # tokens in which the lr rises linearly from 0
    warmup_steps: int | None = None  # the same in steps; `resolved` turns them into tokens
    batch_tokens: int = 131_072  # B
    micro_batch_tokens: int | None = None  # tokens encoded at once; None: as many as memory allows
    precision: str = "fp32"  # of the matrix products: fp32, tf32 or bf16; weights and sums stay float32
    max_tokens: int = 0  # budget D; 0 means "not given" and is rejected
    # "budget": at max_tokens. Or earlier, "converged": at ε; "predicted": when L∞ is known to within `target`.
    stop: str = "budget"
    epsilon: float = 0.01  # ε of the convergence criterion
    target: float = 0.015  # stop=predicted: half the width of the 95 % interval of L∞, relative to L∞
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_eps: float = 6.25e-10
    ema: float = 0.999
    clip_grad: float | None = None  # largest global norm of the gradient; None: no clipping
    fused_update: bool = False  # on a GPU, sum and apply W_enc's gradient in one pass without storing it
    evals_per_doubling: int = 4  # evaluations per doubling of the tokens seen
    first_eval_tokens: int = 16_384

    @property
    def budget(self) -> int:
        """The largest multiple of batch_tokens that is at most max_tokens; a run stops there at the latest."""
        return self.max_tokens // self.batch_tokens * self.batch_tokens

    @property
    def constant_tokens(self) -> int:
        """The tokens after which the lr decays, a multiple of batch_tokens; the budget if it never does."""
        if self.lr_schedule == "constant":
            return self.budget
        share = _DECAY_SHARE if self.decay_share is None else self.decay_share
        steps = self.budget // self.batch_tokens
        return self.batch_tokens * (steps - min(steps, max(1, round(share * steps))))


@dataclass(frozen=True)
class DataKey:
    """Which tokens a run reads and in which order. A run's result depends on nothing else of its data."""

    fingerprint: str
    d_model: int
    shuffle_seed: int = 0


@dataclass(frozen=True)
class RunConfig:
    data: DataKey
    sae: SAEConfig = field(default_factory=SAEConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    seed: int = 0  # for the SAE's initialisation

    def resolved(self) -> "RunConfig":
        """A copy in which every default that depends on another setting or the data is replaced by its value."""
        sae, train, ranked = self.sae, self.train, self.sae.activation in RANKED
        written = replace(
            sae,
            k_aux=default_k_aux(self.data.d_model) if sae.k_aux is None else sae.k_aux,
            auxk_coef=(1 / 32 if ranked else 0.0) if sae.auxk_coef is None else sae.auxk_coef,
            encoder_bias=not ranked if sae.encoder_bias is None else sae.encoder_bias,
        )
        share = _DECAY_SHARE if train.decay_share is None else train.decay_share
        changes: dict[str, Any] = {"decay_share": None if train.lr_schedule == "constant" else share}
        if train.stop != "predicted":  # no other run reads it, and equal runs have one id
            changes["target"] = TrainConfig.target
        steps = train.warmup_steps
        if (
            steps is not None and steps >= 0 and not train.warmup_tokens
        ):  # anything else is for `validate` to refuse
            changes |= {"warmup_tokens": steps * train.batch_tokens, "warmup_steps": None}
        changed = any(getattr(train, name) != value for name, value in changes.items())
        return replace(self, sae=written, train=replace(train, **changes) if changed else train)

    def as_dict(self) -> dict[str, Any]:
        parts = {"data": self.data, "sae": self.sae, "train": self.train}
        # Their fields are numbers and texts: `dataclasses.asdict` would copy each for 10 times as long.
        return {**{name: dict(vars(part)) for name, part in parts.items()}, "seed": self.seed}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RunConfig":
        return cls(
            data=DataKey(**values["data"]),
            sae=SAEConfig(**values["sae"]),
            train=TrainConfig(**values["train"]),
            seed=values["seed"],
        )


# Keys whose default is 0 because a study must give them.
_NOT_GIVEN = ("sae.n_latents", "train.lr", "train.max_tokens")


def default_k_aux(d_model: int) -> int:
    """The power of two nearest to d_model / 2 (Gao et al. 2024, A.2: "close to d_model / 2")."""
    half = max(d_model / 2, 1)
    lower = 1 << (int(half).bit_length() - 1)
    return lower if half / lower < 2 * lower / half else 2 * lower


def _shown(value: object, zero_is_unset: bool = False) -> str:
    """A value in a message: `not set` for None, and for the 0 that stands for it."""
    if value is None:
        return "not set"
    return "not set, or 0" if zero_is_unset and value == 0 else str(value)


def validate(run: RunConfig) -> None:
    """Raise ConfigError, with a message of one sentence, if this run cannot be trained as configured."""
    sae, train = run.sae, run.train
    for name, value in (
        ("sae.n_latents", sae.n_latents),
        ("sae.dead_tokens", sae.dead_tokens),
        ("train.batch_tokens", train.batch_tokens),
        ("train.max_tokens", train.max_tokens),
        ("train.evals_per_doubling", train.evals_per_doubling),
        ("train.first_eval_tokens", train.first_eval_tokens),
    ):
        if value < 1:
            raise ConfigError(f"{name} is {_shown(value, name in _NOT_GIVEN)}; it must be at least 1.")
    _validate_names(run)
    if sae.activation in RANKED:
        _validate_ranked(sae, run.data.d_model)
    else:
        _validate_penalised(sae)
    for name, count in (("sae.k_aux", sae.k_aux), ("train.micro_batch_tokens", train.micro_batch_tokens)):
        if count is not None and count < 1:
            raise ConfigError(f"{name} is {count}; it must be at least 1, or null for the default.")
    if train.batch_tokens > train.max_tokens:
        raise ConfigError(
            f"train.batch_tokens = {train.batch_tokens} is larger than train.max_tokens = {train.max_tokens}: "
            "the token budget is smaller than one optimizer step. Lower train.batch_tokens or raise train.max_tokens."
        )
    if train.fused_update:
        _validate_fused(run)
    _validate_numbers(run)
    _validate_schedule(train)


def _validate_names(run: RunConfig) -> None:
    """Check each setting that is one of a few names."""
    sae, train = run.sae, run.train
    for name, value, known in (
        ("sae.activation", sae.activation, RANKED + PENALISED),
        ("sae.init_scale", sae.init_scale, INIT_SCALES),
        ("sae.parametrization", sae.parametrization, PARAMETRIZATIONS),
        ("train.precision", train.precision, PRECISIONS),
        ("train.stop", train.stop, STOPS),
        ("train.lr_schedule", train.lr_schedule, SCHEDULES),
    ):
        if value not in known:
            raise ConfigError(f"{name} is {value}; it must be one of {', '.join(known)}.", value, known)


def _validate_ranked(sae: SAEConfig, d: int) -> None:
    """Check k and the losses that exist only for topk and batchtopk."""
    if sae.sparsity_coef is not None:
        raise ConfigError(
            f"sae.sparsity_coef is {sae.sparsity_coef}, and {sae.activation} has no such penalty: set k instead."
        )
    if sae.k is None or sae.k < 1:
        raise ConfigError(f"sae.k is {_shown(sae.k)}; {sae.activation} needs it, at least 1.")
    if sae.k > sae.n_latents:
        raise ConfigError(
            f"sae.k = {sae.k} is larger than sae.n_latents = {sae.n_latents}: lower k or raise n_latents."
        )
    if sae.k >= d:
        raise ConfigError(f"sae.k = {sae.k} must be below d_model = {d}: k = d reconstructs anything.")
    if sae.multi_topk and (sae.activation != "topk" or sae.matryoshka > 1 or 4 * sae.k > sae.n_latents):
        raise ConfigError(
            f"sae.multi_topk is True; it needs topk without matryoshka and 4k ≤ n_latents, and here activation = "
            f"{sae.activation}, matryoshka = {sae.matryoshka}, k = {sae.k}, n_latents = {sae.n_latents}."
        )
    smallest, rest = divmod(sae.n_latents, 2 ** max(sae.matryoshka - 1, 0))
    if sae.matryoshka < 1 or rest or smallest < sae.k:
        raise ConfigError(
            f"sae.matryoshka is {sae.matryoshka}; it must be at least 1, and n_latents = {sae.n_latents} divided by "
            f"2^(matryoshka − 1) a whole number, at least k = {sae.k}."
        )


def _validate_penalised(sae: SAEConfig) -> None:
    """Check λ, and that no setting of topk or batchtopk is given."""
    if sae.k is not None:
        raise ConfigError(
            f"sae.k is {sae.k}, and {sae.activation} has no k: leave it null and set sae.sparsity_coef."
        )
    if sae.sparsity_coef is None or not 0 <= sae.sparsity_coef < inf:
        raise ConfigError(
            f"sae.sparsity_coef is {_shown(sae.sparsity_coef)}; {sae.activation} needs it, 0 or above and finite."
        )
    if sae.auxk_coef:
        raise ConfigError(
            f"sae.auxk_coef is {sae.auxk_coef}; {sae.activation} is trained without AuxK: set it to 0 or null."
        )
    if sae.multi_topk or sae.matryoshka != 1:
        raise ConfigError(
            f"sae.multi_topk = {sae.multi_topk} and sae.matryoshka = {sae.matryoshka} need topk or batchtopk; "
            f"the activation is {sae.activation}."
        )
    if sae.activation == "jumprelu" and sae.parametrization == "mup":
        raise ConfigError(
            "sae.parametrization is mup; it must be standard with sae.activation=jumprelu, whose init_threshold and "
            "bandwidth are fixed while the pre-activations shrink as n grows."
        )
    if sae.activation == "gated" and sae.encoder_bias is False:
        raise ConfigError("sae.encoder_bias is False; gated needs it: it is the bias of the gates.")


def _validate_fused(run: RunConfig) -> None:
    """`fused_update` never stores W_enc's gradient, so it must be one sum, and clipping is not possible."""
    sae, train = run.sae, run.train
    if train.clip_grad is not None:
        raise ConfigError(
            f"train.fused_update is True and train.clip_grad = {train.clip_grad}, which needs the norm of the stored "
            "gradient: set one of them to null or False."
        )
    if sae.activation not in RANKED or sae.multi_topk or sae.matryoshka > 1:
        raise ConfigError(
            f"train.fused_update is True; it needs topk or batchtopk with one reconstruction, and here activation = "
            f"{sae.activation}, multi_topk = {sae.multi_topk}, matryoshka = {sae.matryoshka}."
        )


def _validate_numbers(run: RunConfig) -> None:
    sae, train = run.sae, run.train
    for name, ok, value, rule in (
        ("seed", 0 <= run.seed < 2**32, run.seed, "in [0, 2³²)"),
        ("data.shuffle_seed", 0 <= run.data.shuffle_seed < 2**32, run.data.shuffle_seed, "in [0, 2³²)"),
        ("train.lr", 0 < train.lr < inf, train.lr, "finite and above 0"),
        ("train.epsilon", 0 < train.epsilon < 1, train.epsilon, "between 0 and 1"),
        ("train.target", 0 < train.target < 1, train.target, "between 0 and 1"),
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
        (
            "sae.auxk_coef",
            sae.auxk_coef is None or 0 <= sae.auxk_coef < inf,
            sae.auxk_coef,
            "0 or above, or null",
        ),
        ("sae.init_threshold", 0 < sae.init_threshold < inf, sae.init_threshold, "above 0"),
        ("sae.bandwidth", 0 < sae.bandwidth < inf, sae.bandwidth, "above 0"),
        (
            "train.decay_share",
            train.decay_share is None or 0 < train.decay_share <= 1,
            train.decay_share,
            "above 0 and at most 1, or null",
        ),
        ("train.warmup_tokens", train.warmup_tokens >= 0, train.warmup_tokens, "0 or above"),
        (
            "train.warmup_steps",
            train.warmup_steps is None or train.warmup_steps >= 0,
            train.warmup_steps,
            "0 or above, or null",
        ),
        (
            "sae.init_scale",
            sae.parametrization != "mup" or sae.init_scale == "norm",
            sae.init_scale,
            "norm with sae.parametrization=mup, whose lr rests on that scale",
        ),
    ):
        if not ok:
            raise ConfigError(f"{name} is {_shown(value, name in _NOT_GIVEN)}; it must be {rule}.")


def _validate_schedule(train: TrainConfig) -> None:
    """Check the warm-up against the budget, and that a run whose lr decays ends at its budget."""
    if train.warmup_steps is not None and train.warmup_tokens:
        raise ConfigError(
            f"train.warmup_steps is {train.warmup_steps} and train.warmup_tokens is not 0: give one of them."
        )
    warmup = train.warmup_tokens or (train.warmup_steps or 0) * train.batch_tokens
    if warmup > train.constant_tokens:
        before, shorter = ("the budget has", "warm-up")
        if train.lr_schedule != "constant":
            before, shorter = ("there are before the lr decays", "warm-up or the decay")
        raise ConfigError(
            f"The warm-up takes {warmup:,} tokens, more than the {train.constant_tokens:,} that {before}: shorten the "
            f"{shorter}, or raise train.max_tokens."
        )
    if train.lr_schedule != "constant" and train.stop != "budget":
        raise ConfigError(
            f"train.lr_schedule is {train.lr_schedule} and train.stop is {train.stop}: when the lr decays is fixed by "
            "the budget, so such a run must end there. Set train.stop=budget, or in a phase, stop: budget."
        )
