"""Is one network worse than another on the same pictures? Paired bootstrap over patients, one-sided."""

from dataclasses import dataclass

import numpy as np

from ml_model.evaluation import metrics
from ml_model.evaluation.scores import Scores

SAMPLES = 10_000
_AT_ONCE = 500  # resamples, to bound memory

MARGINS = {"AUROC": 0.01, "balanced accuracy": 0.02, "share that passes the gate": 0.01}
"""How much worse the truth may be, by figure, before a network counts as worse.

Without a margin nearly every equal network would be refused, since what is looked at is not the difference but
its lower bound. On the official test split, with networks that err as differently as 2026.11-1 and 2026.11-3, the
standard error of the difference is 0.005 for AUROC and 0.011 for balanced accuracy: with these margins an equal
network passes about three times in five by each of the two, and 0.37 of the time by both; one that is worse by a
margin passes by that figure once in twenty. 0.02 of balanced accuracy are nine healthy or sixteen ill children of
that split.
"""


class Incomparable(Exception):
    """Two sets of scores are not of the same pictures. `str()` says in what they differ, as a clause."""


@dataclass(frozen=True)
class Difference:
    """One figure of both networks, 0..1. low: the 95 % one-sided lower bound of newcomer less served."""

    name: str
    newcomer: float
    served: float
    low: float

    @property
    def not_worse(self) -> bool:
        """Whether the newcomer is shown not to be worse by the figure's margin."""
        return self.low > -MARGINS[self.name]

    def __str__(self) -> str:
        return (
            f"{self.name} {self.newcomer:.4f} after {self.served:.4f}, a difference of "
            f"{self.newcomer - self.served:+.4f} that may be {self.low:+.4f}"
        )


def compare(newcomer: Scores, its_threshold: float, served: Scores, served_threshold: float) -> list[Difference]:
    """The differences that decide whether `newcomer` may replace `served`, each at its own threshold.

    Both are resampled together, a patient with all pictures at a time, since the two networks
    see the same pictures. Raises Incomparable.
    """
    newcomer, served = _in_order(newcomer), _in_order(served)
    for what in ("digests", "labels", "patients"):
        if not np.array_equal(getattr(newcomer, what), getattr(served, what)):
            raise Incomparable("the pictures differ" if what == "digests" else f"the {what} of the pictures differ")
    generator = np.random.Generator(np.random.PCG64(0))
    _, patient = np.unique(served.patients, return_inverse=True)
    patients = int(patient.max()) + 1
    drawn = []
    for _ in range(SAMPLES // _AT_ONCE):
        of = generator.integers(0, patients, (_AT_ONCE, patients)) + np.arange(_AT_ONCE)[:, np.newaxis] * patients
        weights = np.bincount(of.ravel(), minlength=_AT_ONCE * patients).reshape(_AT_ONCE, patients)[:, patient]
        drawn.append(_figures(newcomer, its_threshold, weights) - _figures(served, served_threshold, weights))
    # A resample without one of the classes has no figure.
    lows = np.nanpercentile(np.concatenate(drawn, axis=1), 5, axis=1)
    once = np.ones((1, len(served)))
    theirs, ours = _figures(newcomer, its_threshold, once)[:, 0], _figures(served, served_threshold, once)[:, 0]
    return [Difference(*row) for row in zip(MARGINS, theirs.tolist(), ours.tolist(), lows.tolist(), strict=True)]


def _in_order(scores: Scores) -> Scores:
    order = np.lexsort((scores.probabilities, scores.labels, scores.patients, scores.digests))
    return Scores(*(getattr(scores, name)[order] for name in Scores.__dataclass_fields__))


def _figures(scores: Scores, threshold: float, weights: np.ndarray) -> np.ndarray:
    """AUROC, balanced accuracy and share accepted, (3, k), for each row of `weights`, (k, n)."""
    ill = scores.labels == 1
    right = (scores.probabilities >= threshold) == ill
    with np.errstate(invalid="ignore"):
        sensitivity = weights @ (right & ill) / (weights @ ill)
        specificity = weights @ (right & ~ill) / (weights @ ~ill)
        passed = weights @ scores.accepted / weights.sum(axis=1)
    return np.stack(
        [metrics.aurocs(scores.probabilities, scores.labels, weights), (sensitivity + specificity) / 2, passed]
    )
