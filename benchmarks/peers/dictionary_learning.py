"""dictionary-learning: `TopKTrainer.update`, as its `trainSAE` calls it."""

from dictionary_learning.trainers.top_k import TopKTrainer  # type: ignore[import-not-found]
from torch import Tensor

from benchmarks.train.case import Case, Clock, batches, device


def laps(case: Case, x: Tensor) -> list[float]:
    """Seconds of each step, with AuxK off."""
    trainer = TopKTrainer(
        steps=10_000,  # length of the learning-rate schedule; its warm-up must end earlier
        activation_dim=case.d,
        dict_size=case.n,
        k=case.k,
        layer=0,
        lm_name="none",
        auxk_alpha=0.0,
        seed=0,
        device=device(),
    )
    stream = batches(x, case)
    clock, seconds = Clock(), []
    for step in range(case.steps):
        trainer.update(step, next(stream))
        seconds.append(clock.lap())
    return seconds
