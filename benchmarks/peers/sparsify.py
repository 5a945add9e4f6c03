"""eai-sparsify: `Trainer.fit` with Adam, on a stand-in for a language model that only returns the rows.

The trainer takes a language model and a hook point. This model looks the rows up by token number, which copies the
batch. It is called once at the start of every step, and a lap ends there.
"""

from tempfile import TemporaryDirectory
from types import SimpleNamespace

import torch
from sparsify import SparseCoderConfig, TrainConfig, Trainer  # type: ignore[import-not-found]
from torch import Tensor, nn

from benchmarks.train.case import Case, Clock, device


class _Enough(Exception):
    """Raised after the last lap to stop `fit`, which would otherwise save the weights."""


class _Rows(nn.Module):
    """Map (1, B) token numbers to (1, B, d) rows through the module `rows`, on which the trainer sets its hook."""

    def __init__(self, x: Tensor, steps: int) -> None:
        super().__init__()
        self.x, self.left, self.seconds = x, steps, list[float]()
        self.rows = nn.Identity()
        self.config = SimpleNamespace(num_hidden_layers=1)
        self.dummy_inputs = {"input_ids": torch.zeros(1, 1, dtype=torch.int64)}
        self.clock: Clock | None = None  # None while the trainer determines the width

    @property
    def base_model(self) -> nn.Module:
        return self

    @property
    def device(self) -> torch.device:
        return self.x.device

    def forward(self, input_ids: Tensor) -> Tensor:
        if self.clock is not None:
            self.seconds.append(self.clock.lap())
            if len(self.seconds) > self.left:
                raise _Enough
        return self.rows(self.x[input_ids])


def laps(case: Case, x: Tensor) -> list[float]:
    """Seconds of each step, with AuxK off."""
    numbers = torch.arange(len(x)).split(case.batch_tokens)
    dataset = [{"input_ids": numbers[step % len(numbers)]} for step in range(case.steps + 1)]
    model = _Rows(x, case.steps)
    with TemporaryDirectory() as folder:
        config = TrainConfig(
            SparseCoderConfig(num_latents=case.n, k=case.k),
            batch_size=1,
            optimizer="adam",
            hookpoints=["rows"],
            log_to_wandb=False,
            save_dir=folder,
        )
        trainer = Trainer(config, dataset, model)
        model.clock = Clock()
        try:
            trainer.fit()
        except _Enough:
            pass
    assert device() == str(model.device.type)
    return model.seconds[1:]  # the first lap ends before the first step
