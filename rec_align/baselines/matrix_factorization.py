"""Users and items as vectors whose products are scores: weighted least squares, and BPR.

Both by implicit. The defaults were chosen on ML-100K's validation targets by NDCG@10 without the
items of the history, which both put first: of 12 (ALS) and 10 (BPR) settings the best, by little.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from rec_align.baselines import implicit_library, protocol


@dataclasses.dataclass(frozen=True, kw_only=True)
class ALS:
    """Weighted matrix factorisation by alternating least squares (Hu, Koren and Volinsky 2008).

    A user's vector is solved for from the history given, not taken from train.

    Attributes:
      model: implicit's, fitted.

    Example: users of even and of odd items.
      >>> even, odd = np.array([0, 2, 4]), np.array([1, 3, 5])
      >>> als = ALS.fit([even, odd] * 4, 6, report=lambda line: None)
      >>> als.score([0], [np.array([0, 2])]).argmax() % 2
      np.int64(0)
    """

    model: Any

    @classmethod
    def fit(
        cls,
        histories: protocol.Histories,
        num_items: int,
        *,
        validation: protocol.HeldOut | None = None,
        seed: int = 0,
        report: Callable[[str], None] = print,
        num_factors: int = 64,
        regularization: float = 10.0,
        alpha: float = 1.0,
        num_epochs: int = 15,
    ) -> "ALS":
        """Factorises; see `protocol.Fit`.

        Args:
          num_factors: width of the vectors.
          regularization: weight of the vectors' squares.
          alpha: weight of an interaction; that of no interaction is 1.
          num_epochs: rounds over users and items.

        Raises:
          ValueError: implicit is missing, or an item is outside the catalogue.
        """
        del validation
        matrix = implicit_library.interaction_matrix(histories, num_items)
        with implicit_library.using("cpu.als") as library:
            model = library.AlternatingLeastSquares(
                factors=num_factors,
                regularization=regularization,
                alpha=alpha,
                iterations=num_epochs,
                random_state=seed,
            )
            model.fit(matrix, show_progress=False, callback=_telling("ALS", num_epochs, report))
        return cls(model=model)

    def score(self, users: np.ndarray, histories: protocol.Histories) -> np.ndarray:
        """See `protocol.Baseline.score`."""
        matrix = implicit_library.interaction_matrix(histories, len(self.model.item_factors))
        with implicit_library.using("cpu.als"):
            factors = self.model.recalculate_user(np.asarray(users), matrix)
        return factors @ self.model.item_factors.T


@dataclasses.dataclass(frozen=True, kw_only=True)
class BPRMF:
    """Matrix factorisation by Bayesian personalised ranking (Rendle et al. 2009).

    A user's vector is that of train; the history at test time is not looked at.

    Attributes:
      user_factors: [num_users, d] float32; a user without train interactions has only the last
        dimension, which is 1.
      item_factors: [num_items, d] float32; the last dimension is the items' bias.

    Example:
      >>> bpr = BPRMF(user_factors=np.array([[1.0, 2.0]]), item_factors=np.eye(3, 2))
      >>> bpr.score([0], [[]]).tolist()
      [[1.0, 2.0, 0.0]]
    """

    user_factors: np.ndarray
    item_factors: np.ndarray

    @classmethod
    def fit(
        cls,
        histories: protocol.Histories,
        num_items: int,
        *,
        validation: protocol.HeldOut | None = None,
        seed: int = 0,
        report: Callable[[str], None] = print,
        num_factors: int = 64,
        learning_rate: float = 0.01,
        regularization: float = 0.01,
        num_epochs: int = 100,
    ) -> "BPRMF":
        """Factorises; see `protocol.Fit`.

        Args:
          num_factors: width of the vectors.
          learning_rate: of stochastic gradient descent.
          regularization: weight of the vectors' squares.
          num_epochs: rounds over the interactions.

        Raises:
          ValueError: implicit is missing, or an item is outside the catalogue.
        """
        del validation
        matrix = implicit_library.interaction_matrix(histories, num_items)
        with implicit_library.using("cpu.bpr") as library:
            model = library.BayesianPersonalizedRanking(
                factors=num_factors,
                learning_rate=learning_rate,
                regularization=regularization,
                iterations=num_epochs,
                num_threads=1,  # several change the same vectors, in any order
                random_state=seed,
            )
            model.fit(matrix, show_progress=False, callback=_telling("BPR", num_epochs, report))
        return cls(user_factors=model.user_factors, item_factors=model.item_factors)

    def score(self, users: np.ndarray, histories: protocol.Histories) -> np.ndarray:
        """See `protocol.Baseline.score`; `ValueError` for a user whom train does not have."""
        del histories
        users = np.asarray(users)
        if users.max(initial=0) >= len(self.user_factors):
            raise ValueError(
                f"users holds {users.max()}, but BPR was fitted on {len(self.user_factors)} users "
                "and knows no others; fit it on all users' train histories"
            )
        return self.user_factors[users] @ self.item_factors.T


def _telling(name: str, num_epochs: int, report: Callable[[str], None]) -> Callable[..., None]:
    """A callback of implicit that tells of every tenth epoch."""

    def tell(epoch: int, *_: Any) -> None:
        if (epoch + 1) % 10 == 0 or epoch + 1 == num_epochs:
            report(f"{name}: epoch {epoch + 1} of {num_epochs}")

    return tell
