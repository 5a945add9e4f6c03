"""The interface through which the trainer reads activations, wherever they come from."""

from typing import Protocol

from torch import Tensor


class Source(Protocol):
    """An endless, reproducible stream of prepared activation vectors with a fixed held-out set.

    `rows` may be called from a thread of its own beside the trainer's, one call at a time, while the trainer reads the
    rest; a source whose `rows` keep state must guard it.
    """

    @property
    def d_model(self) -> int: ...

    @property
    def fingerprint(self) -> str:
        """Hash of everything that determines the rows."""
        ...

    @property
    def denominator(self) -> float:
        """Mean of ‖x − x̄‖² over the held-out rows, x̄ the mean training row: NMSE = mean‖x − x̂‖² / this."""
        ...

    def rows(self, start: int, size: int, seed: int) -> Tensor:
        """Tokens start … start+size−1 of the stream in the order `seed`: (size, d_model), float32."""
        ...

    def held_out(self) -> Tensor:
        """The held-out rows: (H, d_model), float32."""
        ...

    def sample(self, rows: int) -> Tensor:
        """A fixed sample of training rows, for b_pre: (at most rows, d_model), float32."""
        ...

    def oracle(self, n_latents: int) -> float | None:
        """NMSE of keeping exactly the n most frequent features if the data is made of features, else None."""
        ...
