"""One SAE in training: its weights, optimizer, weight average, counters and curve, and how to save and restore them."""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sae_core.activations import BatchTopK, build
from sae_core.config import RunConfig
from sae_core.errors import CheckpointError
from sae_core.training import flops, memory
from sae_core.training.auxk import by_gathers
from sae_core.training.convergence import Convergence, judge
from sae_core.training.ema import EMA
from sae_core.training.evaluation import Evaluation, evaluate, set_threshold_
from sae_core.training.gradients import StepOptions, StepOutput, gradients_
from sae_core.training.optimizer import Optimizer
from sae_core.training.parametrization import lr_scales
from sae_core.training.schedule import rate, trunk
from sae_core.training.stopwatch import Stopwatch

# Columns of a curve that depend on the machine, or on the other runs of the pack. All other columns are the same each
# time a run is trained.
CLOCKS = ("train_seconds", "tokens_per_second", "wait_seconds", "memory_peak_bytes", "shared_tokens")
_RISEN = 4  # a run has diverged after this many evaluations in a row above 1.5× its first
_LEAST_TOKENS = 64  # the smallest micro-batch tried; a run that does not fit with it fails


class Run:
    """The state of one run, which may be saved after any method: none returns in the middle of an optimizer step."""

    def __init__(
        self, config: RunConfig, b_pre: Tensor, denominator: float, device: str | torch.device = "cpu"
    ) -> None:
        """Build and initialise the SAE and its optimizer.

        config is resolved;  b_pre, (d,), is the geometric median;  denominator is mean‖x − x̄‖² of the held-out rows.
        """
        assert config == config.resolved(), (
            "resolve the config first: a default left open changes the run's id"
        )
        self.config, self.denominator = config, denominator
        self.sae = build(config.sae, config.data.d_model).to(device)
        self.sae.init_(b_pre, config.seed, config.sae.init_scale)
        scales = lr_scales(self.sae, denominator) if config.sae.parametrization == "mup" else None
        self.optimizer = Optimizer(self.sae, config.train, scales)
        self.ema = EMA(self.sae, config.train.ema)
        # The number of tokens seen when each latent was last active.
        self.last_active = torch.zeros(config.sae.n_latents, dtype=torch.int64, device=device)
        self.tokens, self.steps, self.evaluations = 0, 0, 0
        self.shared_tokens = 0  # of `tokens`, those on which another run with the same trunk was trained
        self.flops_auxk, self.wait_seconds = 0.0, 0.0
        self.micro_batch_tokens = config.train.micro_batch_tokens or memory.tokens_at_once(
            config.sae, config.train.batch_tokens, memory.device_bytes(device)
        )
        self._clock = Stopwatch(device)
        self.curve: list[dict[str, Any]] = []
        self.abandoned = False  # set by the caller of train_pack, which then drops this run
        # Set by train_pack: the run that is trained for this one too, up to where they branch.
        self.leader: Run | None = None
        self._last: tuple[StepOutput, Tensor] | None = None

    @property
    def flops_dense(self) -> float:
        return self.tokens * flops.dense_per_token(self.config.sae.n_latents, self.config.data.d_model)

    @property
    def flops_sparse(self) -> float:
        return (
            self.tokens * flops.sparse_per_token(self.config.sae, self.config.data.d_model) + self.flops_auxk
        )

    @property
    def train_seconds(self) -> float:
        """Device time of this run's steps, without `wait_seconds`, the time spent waiting for its batches."""
        return self._clock.seconds

    def dead(self) -> Tensor | None:
        """Indices of the latents inactive for more than `dead_tokens` tokens, (n_dead,); None if there are none.

        Once the run has seen more than `dead_tokens` tokens, this waits for the GPU, because the number of dead latents
        is a tensor shape.
        """
        limit = self.config.sae.dead_tokens
        if self.tokens <= limit:
            return None
        dead = (self.tokens - self.last_active > limit).nonzero()[:, 0]
        return dead if len(dead) else None

    def step(self, x: Tensor, waited: float = 0.0, alone: bool = False) -> None:
        """One optimizer step on x: (batch_tokens, d).

        waited: seconds that the device was idle before x arrived.  alone: this is the only run in the pack; on
        out-of-memory, retry the step with smaller micro-batches. The retry is safe because the optimizer has not yet
        changed any weight.
        """
        self.wait_seconds += waited
        dead = self.dead() if self.config.sae.auxk_coef else None
        with self._clock.running():
            output = self._gradients(x, dead, alone)
            norm = self.optimizer.step(output.encoder, self.ema, rate(self.config.train, self.tokens))
            self.tokens += len(x)
            self.steps += 1
            # Indexing with `used` would wait for the GPU to count the used latents.
            self.last_active.masked_fill_(output.used, self.tokens)
        if dead is not None:
            k_aux = self.config.sae.k_aux or 1
            gathers = by_gathers(len(dead), k_aux, x.device.type)
            self.flops_auxk += len(x) * flops.auxk_per_token(len(dead), x.shape[1], k_aux, gathers)
        # `encoder` holds (B, d) rows, too large to keep between steps.
        self._last = (replace(output, encoder=None), norm)

    def _gradients(self, x: Tensor, dead: Tensor | None, alone: bool) -> StepOutput:
        """Compute the gradients of one batch; if memory runs out and `alone`, halve the micro-batch and try again."""
        sae, train = self.config.sae, self.config.train
        while True:
            options = StepOptions(
                self.denominator,
                sae.k_aux or 1,
                sae.auxk_coef or 0.0,
                self.micro_batch_tokens,
                train.precision,
                train.fused_update,
            )
            try:
                return gradients_(self.sae, x, options, dead, self.optimizer.narrow)
            except (RuntimeError, MemoryError) as error:
                smaller = self.micro_batch_tokens // 2
                if not (alone and memory.is_out_of_memory(error)) or smaller < _LEAST_TOKENS:
                    raise
            self.micro_batch_tokens = smaller
            if x.is_cuda:
                torch.cuda.empty_cache()

    def next_evaluation(self) -> int:
        """The tokens at which the next evaluation is due: first·2^(j/evals_per_doubling), but at most the budget."""
        train = self.config.train
        due = train.first_eval_tokens * 2 ** (self.evaluations / train.evals_per_doubling)
        return min(math.ceil(due), train.budget)

    def evaluate(self, held_out: Tensor, training: Tensor | None = None) -> dict[str, Any]:
        """Evaluate the live and the averaged weights on held-out rows, append the row to the curve and return it.

        training: training rows, (R, d), on which batchtopk sets the θ of the live and that of the averaged weights;
        other activations do without.
        """
        live = self._evaluate(held_out, training)
        with self.ema.applied():
            averaged = self._evaluate(held_out, training)
        measured = {"live": live, "ema": averaged}
        weights = "ema" if averaged.nmse < live.nmse else "live"  # live where one of them is NaN
        dead = self.dead()
        assert self._last is not None, "evaluate() comes after a step"
        output, norm = self._last
        row = {
            "step": self.steps,
            "tokens": self.tokens,
            "weights": weights,
            **{
                name + of_which: getattr(measured[which], name)
                for name in ("nmse", "l0", "threshold")
                for of_which, which in (("", weights), ("_live", "live"), ("_ema", "ema"))
            },
            "dead_fraction": None
            if self.tokens <= self.config.sae.dead_tokens
            else (0 if dead is None else len(dead)) / len(self.last_active),
            "train_nmse": float(output.nmse),
            "auxk_loss": None if output.auxk is None else float(output.auxk),
            "penalty": None if output.penalty is None else float(output.penalty),
            "grad_norm": float(norm),
            "flops_dense": self.flops_dense,
            "flops_sparse": self.flops_sparse,
            **self._clocks(),
            "micro_batch_tokens": self.micro_batch_tokens,
            "memory_peak_bytes": torch.cuda.max_memory_allocated(held_out.device)
            if held_out.is_cuda
            else None,
        }
        return self._append(row)

    def _append(self, row: dict[str, Any]) -> dict[str, Any]:
        while self.next_evaluation() <= self.tokens < self.config.train.budget:
            self.evaluations += 1
        self.curve.append(row)
        return row

    def _clocks(self) -> dict[str, Any]:
        """What the run itself has cost, without the part that another run was trained on for it."""
        own, seconds = self.tokens - self.shared_tokens, self.train_seconds
        return {
            "train_seconds": seconds,
            "tokens_per_second": own / seconds if seconds else None,
            "wait_seconds": self.wait_seconds,
            "shared_tokens": self.shared_tokens,
        }

    def branch(self, source: "Run") -> None:
        """Take over the state of a run with the same trunk, as if this run had been trained up to there itself.

        Only what the run has cost stays its own. The curve is not taken over: `follow` does that row by row.
        """
        shared = self.shared_tokens + source.tokens - self.tokens
        own = {"config": self.config.as_dict(), "shared_tokens": shared}
        own |= {
            name: getattr(self, name) for name in ("evaluations", "train_seconds", "wait_seconds", "curve")
        }
        self.restore(source.tensors(), source.meta() | own)
        self._last = source._last

    @property
    def reached(self) -> int:
        """The tokens that the run has seen, with those that another run has been trained on for it."""
        return self.tokens if self.leader is None else max(self.tokens, self.leader.tokens)

    def catch_up(self) -> None:
        """Take over the state of the run that is trained for this one, if there is one, so that it can be saved."""
        if self.leader is not None and self.leader.tokens > self.tokens:
            self.branch(self.leader)

    def follow(
        self, source: "Run", held_out: Tensor, training: Tensor | None = None
    ) -> dict[str, Any] | None:
        """Branch off `source`, and return the row of the evaluation that is due there, None if none is."""
        self.branch(source)
        if self.tokens < self.next_evaluation():
            return None
        if not source.curve or source.curve[-1]["tokens"] != self.tokens:
            return self.evaluate(held_out, training)
        return self._append(source.curve[-1] | self._clocks())

    def go_on_from(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Take over the saved state of an ended run with the same trunk, as if this run had been trained up to there.

        tensors, meta: as of `tensors()` and `meta()`. The evaluations of the ended run that this run would have made
        too become its own. It must not have one of its stops before, so it stops at its budget.

        Raises
        ------
        CheckpointError
            If the state is of another trunk, or is beyond the constant part of either run.
        """
        source = RunConfig.from_dict(meta["config"])
        furthest = min(source.train.constant_tokens, self.config.train.constant_tokens)
        if trunk(source) != trunk(self.config) or meta["tokens"] > furthest:
            raise CheckpointError("The state of the ended run is not one that this run would have had.")
        own = {"config": self.config.as_dict(), "evaluations": 0, "curve": []}
        own |= {"train_seconds": 0.0, "wait_seconds": 0.0, "shared_tokens": meta["tokens"]}
        self.restore(tensors, meta | own)
        for row in meta["curve"]:
            self.tokens = self.shared_tokens = row["tokens"]
            if self.tokens >= self.next_evaluation():
                self._append(row | self._clocks())
        self.tokens = self.shared_tokens = meta["tokens"]

    def _evaluate(self, held_out: Tensor, training: Tensor | None) -> Evaluation:
        """Evaluate the weights that the SAE has now, with a θ that is theirs."""
        if isinstance(self.sae, BatchTopK):
            assert training is not None, "batchtopk sets its θ on training rows"
            set_threshold_(self.sae, training)
        return evaluate(self.sae, held_out, self.denominator)

    def convergence(self) -> Convergence:
        """Whether the run has converged. Unknown where the lr decays: the loss then falls for another reason.

        The evaluations before the end of the warm-up are left out: the loss may be flat there because the lr is small.
        Since the verdict needs a doubling of D, there is none before two lengths of the warm-up.
        """
        if self.config.train.lr_schedule != "constant":
            return Convergence(None, None, None, None, None)
        warm = [row for row in self.curve if row["tokens"] >= self.config.train.warmup_tokens]
        tokens, live, ema = ([row[name] for row in warm] for name in ("tokens", "nmse_live", "nmse_ema"))
        return judge(tokens, live, ema, self.config.train.epsilon)

    def outcome(self) -> str | None:
        """ "diverged" or "done" right after the evaluation that ends the run, None at any other time."""
        if self._has_diverged():
            return "diverged"
        return "done" if self.ended_by() else None

    def ended_by(self) -> str | None:
        """What ends the run, right after an evaluation: "budget", or earlier "converged" or "predicted".

        None if the run goes on, or has diverged. It depends on nothing but the config and the curve, so a run that was
        killed and resumed ends at the same evaluation.
        """
        train = self.config.train
        if not self._is_evaluated() or self._has_diverged():
            return None
        if self.tokens >= train.budget:
            return "budget"
        if train.stop == "budget":
            return None
        at_this = self.convergence()
        if train.stop == "converged":
            return "converged" if at_this.converged else None
        width = at_this.half_width
        return "predicted" if width is not None and width <= train.target else None

    def _is_evaluated(self) -> bool:
        return bool(self.curve) and self.curve[-1]["tokens"] == self.tokens

    def _has_diverged(self) -> bool:
        if not self._is_evaluated():
            return False
        nmse = [row["nmse"] for row in self.curve]
        row = self.curve[-1]
        if not (math.isfinite(row["nmse_live"]) and math.isfinite(row["train_nmse"])):
            return True
        return len(nmse) > _RISEN and min(nmse[-_RISEN:]) > 1.5 * nmse[0]

    def tensors(self) -> dict[str, Tensor]:
        """All tensors of the state, under flat names."""
        live = {f"sae.{name}": p for name, p in self.sae.state_dict().items()}
        mean = {f"ema.{name}": m for name, m in (self.ema.m | self.ema.buffers).items()}
        return live | mean | self.optimizer.tensors() | {"last_active": self.last_active}

    def weights(self) -> dict[str, Tensor]:
        """The weights that a finished run saves: the live ones and their bias-corrected average, each with its θ."""
        return self.sae.state_dict() | {f"ema.{name}": w for name, w in self.ema.weights().items()}

    def meta(self) -> dict[str, Any]:
        """The rest of the state, as JSON values."""
        return {
            "config": self.config.as_dict(),
            "tokens": self.tokens,
            "steps": self.steps,
            "evaluations": self.evaluations,
            "ema_t": self.ema.t,
            "flops_auxk": self.flops_auxk,
            "train_seconds": self.train_seconds,
            "wait_seconds": self.wait_seconds,
            "shared_tokens": self.shared_tokens,
            "micro_batch_tokens": self.micro_batch_tokens,
            "curve": self.curve,
        }

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> "Run":
        """Load the state that `tensors()` and `meta()` returned, so that training continues exactly from there."""
        # Read back, since a checkpoint of an earlier version lacks the settings that were added since.
        if RunConfig.from_dict(meta["config"]) != self.config:
            raise CheckpointError(
                "The checkpoint belongs to another config; delete the run's folder to train it anew."
            )
        device = self.last_active.device
        for name, p in self.sae.state_dict().items():
            p.copy_(tensors[f"sae.{name}"])
        for name, m in self.ema.m.items():
            m.copy_(tensors[f"ema.{name}"])
        for name, buffer in self.ema.buffers.items():
            # A checkpoint from before the averaged weights had a θ of their own holds the live one.
            buffer.copy_(tensors.get(f"ema.{name}", tensors[f"sae.{name}"]))
        self.optimizer.load({k: v.to(device) for k, v in tensors.items()})
        self.last_active.copy_(tensors["last_active"])
        self.ema.t = meta["ema_t"]
        self._clock.seconds = meta["train_seconds"]
        self.shared_tokens = meta.get("shared_tokens", 0)  # absent where runs could not branch yet
        for name in (
            "tokens",
            "steps",
            "evaluations",
            "flops_auxk",
            "wait_seconds",
            "micro_batch_tokens",
            "curve",
        ):
            setattr(self, name, meta[name])
        return self
