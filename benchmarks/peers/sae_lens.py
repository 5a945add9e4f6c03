"""sae-lens: `SAETrainer.step` on a `TopKTrainingSAE`, as its `fit` calls it.

It uses sparse activations without rescaling by the decoder's norms, its fastest configuration that works: with the
default rescaling, sparse activations fail on a CPU.
"""

import torch
from sae_lens import SAETrainer  # type: ignore[import-not-found]
from sae_lens.config import LoggingConfig, SAETrainerConfig  # type: ignore[import-not-found]
from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig  # type: ignore[import-not-found]
from torch import Tensor

from benchmarks.train.case import Case, Clock, batches, device


def laps(case: Case, x: Tensor) -> list[float]:
    """Seconds of each step. No latent counts as dead before 1,000 steps, so AuxK is off."""
    torch.manual_seed(0)
    config = TopKTrainingSAEConfig(
        d_in=case.d,
        d_sae=case.n,
        k=case.k,
        device=device(),
        use_sparse_activations=True,
        rescale_acts_by_decoder_norm=False,
    )
    settings = SAETrainerConfig(
        total_training_samples=case.steps * case.batch_tokens,
        train_batch_size_samples=case.batch_tokens,
        lr_end=3e-4,  # equal to lr, since the schedule is constant
        device=device(),
        logger=LoggingConfig(log_to_wandb=False),
    )
    stream = batches(x, case)
    trainer = SAETrainer(settings, TopKTrainingSAE(config), stream)
    clock, seconds = Clock(), []
    for _ in range(case.steps):
        trainer.step(next(stream))
        trainer.n_training_steps += 1
        seconds.append(clock.lap())
    return seconds
