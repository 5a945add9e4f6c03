"""The one table of columns: name, type, unit and meaning of every column of runs, curves and latents.

`sweeps.ledger.tables` collects these columns in this order; the report takes its axes and their labels from here; the
help of `--map` lists those that laws read; and `python -m fit.views.columns_page docs/reference/tables.md` writes them
there. A new setting of a run is one line here, and a test fails until it has one.
"""

from collections.abc import Iterable
from dataclasses import dataclass

# A setting that a grid can vary, what came out of a run, and where, when and by which code it was run.
AXIS, RESULT, PROVENANCE = "axis", "result", "provenance"
TEXT, WHOLE, NUMBER, TRUTH = "string", "Int64", "Float64", "boolean"  # pandas' types that know missing values


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Parameters
    ----------
    name, dtype
        Its name, and its pandas type.
    role
        AXIS, RESULT or PROVENANCE.
    meaning
        What docs/reference/tables.md says about it.
    unit
        Unit of the numbers, empty for pure numbers and texts.
    label
        A few words for it in the report and in help; only axes and `MAPPED` columns need them.
    key
        The config key whose value it holds, empty if it holds no setting.
    """

    name: str
    dtype: str
    role: str
    meaning: str
    unit: str = ""
    label: str = ""
    key: str = ""


def _setting(
    key: str, dtype: str, label: str, meaning: str, *, name: str = "", unit: str = "", role: str = AXIS
) -> Column:
    """The column of a config key; it has the name of the key unless another is given."""
    return Column(name or key.rpartition(".")[2], dtype, role, meaning, unit, label, key)


def _result(name: str, dtype: str, meaning: str, unit: str = "", label: str = "") -> Column:
    return Column(name, dtype, RESULT, meaning, unit, label)


def _provenance(name: str, dtype: str, meaning: str, unit: str = "") -> Column:
    return Column(name, dtype, PROVENANCE, meaning, unit)


RUNS = (
    _provenance("run_id", TEXT, "hash of the resolved settings that decide the run's curve, and of its data"),
    _provenance("study", TEXT, "name of the study"),
    _provenance(
        "phase",
        TEXT,
        "the phase of the study whose latest launch has the run, or several in the order of their names, as "
        "`main, tune`; missing in a study without phases, and for runs that a later launch has replaced",
    ),
    _result(
        "state",
        TEXT,
        "`pending`, `running`, `stopped` (its worker is gone; it will be resumed), `done`, `diverged`, `failed`, "
        "`cancelled` or `unreadable` (its folder is damaged)",
    ),
    _result(
        "failure",
        TEXT,
        "kind of its failure: `oom`, `host_oom`, `node`, `disk`, `stalled`, `lost`, `data` or `bug`; "
        "missing unless it failed",
    ),
    _result("message", TEXT, "last line of the failure"),
    _result("failures", WHOLE, "how often it has failed in all, earlier attempts included"),
    _setting("data.name", TEXT, "data", "name of the data configuration", name="data"),
    _setting(
        "data.fingerprint",
        TEXT,
        "fingerprint of the data",
        "hash of the data's manifest; computed, not set",
        name="data_fingerprint",
    ),
    _setting("data.shuffle_seed", WHOLE, "seed of the token order", "seed of the order of the tokens"),
    _setting("data.d_model", WHOLE, "width d", "d, width of the activation vectors"),
    _setting("data.store", TEXT, "store", "harvested data: name of the store's folder"),
    _setting("data.harvest.model", TEXT, "model", "harvested data: the language model"),
    _setting("data.harvest.text", TEXT, "text", "harvested data: the folder of its text"),
    _setting("data.harvest.prepare", TEXT, "preparation of inputs", "harvested data: normalisation of rows"),
    _setting("data.harvest.layer", WHOLE, "layer", "harvested data: blocks passed; 0: before the first"),
    _setting(
        "data.harvest.context", WHOLE, "context length", "harvested data: context length", unit="tokens"
    ),
    _setting(
        "data.synthetic.n_features",
        WHOLE,
        "features of the synthetic data",
        "synthetic data: number of features",
    ),
    _setting(
        "data.synthetic.seed",
        WHOLE,
        "seed of the dictionary",
        "synthetic data: seed of the feature directions",
        name="dictionary_seed",
    ),
    _setting(
        "data.synthetic.zipf",
        NUMBER,
        "Zipf exponent",
        "synthetic data: exponent of the frequencies of the features",
    ),
    _setting(
        "data.synthetic.l0",
        NUMBER,
        "features per token",
        "synthetic data: features per token, on average",
        name="features_per_token",
    ),
    _setting("sae.n_latents", WHOLE, "latents n", "n, number of latents"),
    _setting(
        "sae.k",
        WHOLE,
        "active latents k",
        "active latents per token; missing for `relu`, `jumprelu` and `gated`, which have no k",
    ),
    _setting("sae.activation", TEXT, "activation", "`topk`, `batchtopk`, `relu`, `jumprelu` or `gated`"),
    _setting(
        "sae.sparsity_coef",
        NUMBER,
        "sparsity coefficient λ",
        "λ of the sparsity penalty of `relu`, `jumprelu` and `gated`; missing for the others",
    ),
    _setting(
        "sae.init_threshold",
        NUMBER,
        "initial threshold θ",
        "`jumprelu`: threshold θ at the start of training",
    ),
    _setting("sae.bandwidth", NUMBER, "bandwidth ε of JumpReLU", "`jumprelu`: ε of the gradient of its step"),
    _setting("sae.multi_topk", TRUTH, "Multi-TopK", "whether the loss was L(k) + L(4k)/8 and not L(k)"),
    _setting(
        "sae.matryoshka",
        WHOLE,
        "Matryoshka prefixes",
        "how many nested reconstructions were trained; 1: only n",
    ),
    _setting("sae.auxk_coef", NUMBER, "AuxK α", "α of the auxiliary loss AuxK"),
    _setting("sae.k_aux", WHOLE, "AuxK k", "k of AuxK"),
    _setting(
        "sae.dead_tokens",
        WHOLE,
        "dead after",
        "a latent without activation for this long is dead",
        unit="tokens",
    ),
    _setting("sae.encoder_bias", TRUTH, "encoder bias", "whether the encoder has a bias"),
    _setting(
        "sae.init_scale",
        TEXT,
        "initial scale",
        "`norm`: reconstructions start at the inputs' norm; `tied`: the encoder is the decoder's transpose",
    ),
    _setting(
        "sae.parametrization",
        TEXT,
        "parametrisation",
        "`standard`: Adam's lr of all tensors is lr; `mup`: lr is in units of each tensor's own size, so it is another "
        "quantity, and laws are fitted to each alone",
    ),
    _setting("train.lr", NUMBER, "learning rate", "Adam's learning rate"),
    _setting(
        "train.lr_schedule",
        TEXT,
        "schedule of lr",
        "after the warm-up: `constant`: every prefix of the run is a run; `linear`, `sqrt` or `cosine` to 0 over the "
        "last `decay_share` of the budget: only the end point is valid for L(C), which has a law of its own for each",
    ),
    _setting(
        "train.decay_share",
        NUMBER,
        "share of decay",
        "share of the budget in which the lr decays; missing: constant",
    ),
    _setting(
        "train.warmup_tokens", WHOLE, "warm-up", "tokens in which the lr rises linearly from 0", unit="tokens"
    ),
    _setting(
        "train.warmup_steps", WHOLE, "warm-up steps", "always missing: `warmup_tokens` counts the tokens"
    ),
    _setting("train.batch_tokens", WHOLE, "tokens per step B", "B, tokens per optimizer step", unit="tokens"),
    _setting(
        "train.micro_batch_tokens",
        WHOLE,
        "tokens encoded at once",
        "tokens encoded at once, as configured or as the device's memory allowed",
        unit="tokens",
        role=PROVENANCE,
    ),
    _setting("train.precision", TEXT, "precision", "of the matrix products: `fp32`, `tf32` or `bf16`"),
    _setting(
        "train.fused_update",
        TRUTH,
        "fused update",
        "whether the encoder's weight gradient was applied while it was summed, and never stored",
    ),
    _setting("train.max_tokens", WHOLE, "budget", "budget D of the run", unit="tokens"),
    _setting(
        "train.stop",
        TEXT,
        "stops at",
        "`budget`, or earlier: `converged`, or `predicted` (L∞ known to within `target`)",
    ),
    _setting("train.epsilon", NUMBER, "ε of convergence", "ε of the convergence criterion"),
    _setting(
        "train.target",
        NUMBER,
        "target of L∞",
        "runs with `stop` = `predicted`: the half width of the 95 % interval of L∞, relative to L∞, at which they stop",
    ),
    _setting("train.adam_beta1", NUMBER, "Adam β₁", "Adam's β₁"),
    _setting("train.adam_beta2", NUMBER, "Adam β₂", "Adam's β₂"),
    _setting("train.adam_eps", NUMBER, "Adam ε", "Adam's ε"),
    _setting("train.ema", NUMBER, "EMA", "decay of the average of the weights"),
    _setting(
        "train.clip_grad", NUMBER, "gradient clipped at", "norm at which gradients are clipped; missing: off"
    ),
    _setting("train.evals_per_doubling", WHOLE, "evaluations per doubling", "evaluations per doubling of D"),
    _setting(
        "train.first_eval_tokens", WHOLE, "first evaluation", "D of the first evaluation", unit="tokens"
    ),
    _setting("seed", WHOLE, "seed", "seed of the SAE's initialisation"),
    _result("tokens", WHOLE, "D, tokens seen", "tokens", "tokens seen D"),
    _result("steps", WHOLE, "optimizer steps taken"),
    _result(
        "nmse",
        NUMBER,
        "L: the lower of `nmse_live` and `nmse_ema` at the last evaluation, on held-out tokens",
        label="loss L",
    ),
    _result(
        "weights",
        TEXT,
        "`live` or `ema`: whether `nmse`, `l0` and `threshold` are those of the live or of the averaged weights; "
        "missing in runs of an earlier version, whose `l0` is that of the live weights",
    ),
    _result("nmse_live", NUMBER, "normalized MSE of the live weights"),
    _result("nmse_ema", NUMBER, "normalized MSE of the averaged weights"),
    _result("nmse_best", NUMBER, "lowest `nmse` of the curve"),
    _result(
        "nmse_oracle",
        NUMBER,
        "loss of keeping exactly the n most frequent features; known for synthetic data only. It is not a bound: an "
        "SAE may share latents among features",
    ),
    _result(
        "l0", NUMBER, "active latents per token at the last evaluation, of the weights that `nmse` is of"
    ),
    _result("l0_live", NUMBER, "active latents per token of the live weights"),
    _result("l0_ema", NUMBER, "active latents per token of the averaged weights"),
    _result(
        "threshold", NUMBER, "`batchtopk`: θ of the weights that `nmse` is of; a latent is active above it"
    ),
    _result("threshold_live", NUMBER, "`batchtopk`: θ of the live weights"),
    _result("threshold_ema", NUMBER, "`batchtopk`: θ of the averaged weights"),
    _result("dead_fraction", NUMBER, "share of dead latents at the last evaluation"),
    _result(
        "flops_dense",
        NUMBER,
        "C, counting 12·n·d per token: encoder and decoder as dense products, forward and backward",
        "FLOPs",
        "compute C, dense",
    ),
    _result(
        "flops_sparse",
        NUMBER,
        "C, counting what a step computes: 2·n·d + 8·k·d per token for `topk` and `batchtopk`, and AuxK's share by the "
        "path that it took, 10·n_dead·d, or 2·n_dead·d + 8·k_aux·d where it gathered",
        "FLOPs",
        "compute C, sparse",
    ),
    _result(
        "converged",
        TRUTH,
        "whether the convergence criterion held; missing if the evaluations are too few or too noisy",
    ),
    _result(
        "ended_by",
        TEXT,
        "what ended a run that is done: `budget`, or earlier `converged` or `predicted`, see `stop`; missing in runs "
        "of an earlier version",
    ),
    _result("nmse_inf", NUMBER, "L∞ of the fitted tail L∞ + A·D^−g of the better weights"),
    _result("nmse_inf_se", NUMBER, "standard error of this L∞"),
    _result(
        "nmse_predicted",
        NUMBER,
        "L∞ predicted from the last doubling of D, which is nearer to what runs reach than `nmse_inf`; missing where "
        "evaluations are too few, or the loss has risen",
    ),
    _result("nmse_predicted_low", NUMBER, "lower end of its 95 % interval"),
    _result("nmse_predicted_high", NUMBER, "upper end of its 95 % interval"),
    _result("tail_gap", NUMBER, "(L − L∞)/L∞"),
    _result("last_doubling", NUMBER, "relative gain of the last doubling of D"),
    _result("train_seconds", NUMBER, "time spent on this run's steps", "s"),
    _result(
        "shared_tokens",
        WHOLE,
        "of the `tokens`, those on which another run was trained for it, from which it then branched; `train_seconds` "
        "is without them, all FLOPs are with them",
        "tokens",
    ),
    _result("gpu_seconds", NUMBER, "the same on a GPU; missing on a CPU", "s"),
    _result("tokens_per_second", NUMBER, "`(tokens − shared_tokens) / train_seconds`", "tokens/s"),
    _result(
        "wait_seconds",
        NUMBER,
        "time for which the device waited for this run's batches, shared evenly by the runs that waited for one",
        "s",
    ),
    _result("wait_share", NUMBER, "share of `wait_seconds` in `wait_seconds + train_seconds`"),
    _result(
        "memory_peak_bytes",
        WHOLE,
        "most memory that the worker has allocated on the GPU so far, for its other runs too; missing on a CPU",
        "bytes",
    ),
    _provenance("device", TEXT, "device it was trained on"),
    _provenance("threads", WHOLE, "torch threads of its worker"),
    _provenance("host", TEXT, "machine it was trained on"),
    _provenance("job", TEXT, "its SLURM job; missing without SLURM"),
    _provenance("git_sha", TEXT, "commit of the code"),
    _provenance("git_dirty", TRUTH, "whether the code had changes that are not in this commit"),
    _provenance("saescale", TEXT, "version of this package"),
    _provenance("torch", TEXT, "version of torch"),
    _provenance("triton", TEXT, "version of triton"),
    _provenance("started", TEXT, "when its training began, UTC, ISO 8601"),
    _provenance("ended", TEXT, "when its training ended, UTC, ISO 8601"),
)
_OF_RUNS = {column.name: column for column in RUNS}


def _as_in_runs(*names: str) -> tuple[Column, ...]:
    return tuple(_OF_RUNS[name] for name in names)


# Columns that every evaluation repeats from its run, so that curves.parquet can be used alone.
REPEATED = _as_in_runs(
    "data", "d_model", "n_latents", "k", "parametrization", "lr", "lr_schedule", "batch_tokens", "seed"
)
CURVES = (
    *_as_in_runs("run_id", "study"),
    _result("step", WHOLE, "optimizer steps taken"),
    _result("tokens", WHOLE, "D, tokens seen", "tokens"),
    _result("nmse", NUMBER, "L: the lower of `nmse_live` and `nmse_ema`, on held-out tokens"),
    *_as_in_runs("weights", "nmse_live", "nmse_ema"),
    _result("l0", NUMBER, "active latents per token, of the weights that `nmse` is of"),
    *_as_in_runs("l0_live", "l0_ema", "threshold", "threshold_live", "threshold_ema"),
    _result("dead_fraction", NUMBER, "share of dead latents"),
    _result("train_nmse", NUMBER, "normalized MSE on the last training batch"),
    _result("auxk_loss", NUMBER, "auxiliary loss AuxK on the last training batch"),
    _result("penalty", NUMBER, "sparsity penalty S of L + λ·S"),
    _result("grad_norm", NUMBER, "norm of the gradient"),
    *_as_in_runs("flops_dense", "flops_sparse", "train_seconds", "tokens_per_second", "wait_seconds"),
    *_as_in_runs("shared_tokens"),
    *_as_in_runs("micro_batch_tokens", "memory_peak_bytes"),
    *REPEATED,
)
LATENTS = (
    *_as_in_runs("run_id", "n_latents", "k"),
    _result(
        "quantity",
        TEXT,
        "`log10_density`: log10 of the share of held-out tokens on which a latent is active; `log10_mean_square`: "
        "log10 of the mean of its squared activation over all held-out tokens, in squared units of the prepared data",
    ),
    _result(
        "low", NUMBER, "lower edge of the bin, a quarter of a decade wide; missing for latents never active"
    ),
    _result(
        "high", NUMBER, "upper edge of the bin; missing for latents that are never active on held-out tokens"
    ),
    _result(
        "count",
        WHOLE,
        "how many of the n latents; those outside −7 … 0 or −12 … 4 count in the bin at that end",
        "latents",
    ),
)

# Columns that laws read, which a table from elsewhere may have under other names.
MAPPED = ("n_latents", "k", "tokens", "flops_sparse", "flops_dense", "lr", "batch_tokens", "nmse")

# The order in which a reader asks for settings: these first, then as in the table.
_ASKED_FIRST = ("n_latents", "k", "lr", "batch_tokens", "max_tokens", "seed")


def dtypes(columns: Iterable[Column]) -> dict[str, str]:
    """The pandas type of each column, in their order."""
    return {column.name: column.dtype for column in columns}


def axes() -> dict[str, Column]:
    """The columns that a grid can vary, by name, in the order in which a reader asks for them."""
    first = {name: _OF_RUNS[name] for name in _ASKED_FIRST}
    return first | {column.name: column for column in RUNS if column.role == AXIS}


def map_help() -> str:
    """The help of `--map`: how to name a table's columns, and which of ours the laws read."""
    meanings = ", ".join(f"{name} ({_OF_RUNS[name].label})" for name in MAPPED)
    return f"names of the table's columns, as n_latents=n,k=k,nmse=loss, for those of ours that laws read: {meanings}"
