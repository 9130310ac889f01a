"""Optax optimisers for T5X: the built-in engine's, schedule included."""

from collections.abc import Callable

import optax
from t5x.optimizers import OptaxWrapper


def from_optax(
    optimizer: Callable[[optax.Schedule], optax.GradientTransformation],
    learning_rate: Callable[..., optax.Schedule],
    *,
    total_steps: int,
) -> OptaxWrapper:
    """The optimizer of `rec_align.training.optimizers` with its schedule, as T5X takes it.

    T5X's wrapper ignores `Trainer.learning_rate_fn`: the schedule here is the one that counts, and
    the `learning_rate` in T5X's summaries is not.

    Args:
      optimizer: makes an optax transformation of a schedule. Its states must be known to T5X:
        `adamw` is, optax's own `adafactor` is not (take `t5x.adafactor.Adafactor`).
      learning_rate: makes the schedule, given `total_steps`.
      total_steps: the length of training.
    """
    return OptaxWrapper(optimizer(learning_rate(total_steps=total_steps)))
