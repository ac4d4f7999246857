"""A linear classifier of two kinds on a network's features, fitted in closed form."""

from dataclasses import dataclass

import numpy as np

from ml_model.evaluation import metrics

RIDGE = 300.0
"""Penalty on the weights of standardised features. Less of it knows what it was shown better, and
says less of anything else: as a gate, dental X-rays, a kind it was not shown, were refused by
50 % at 3, 72 % at 30 and 97 % at 300."""


@dataclass(frozen=True)
class Head:
    """A logit of features: float32 (features,) kernel, and bias."""

    kernel: np.ndarray
    bias: float

    def logit(self, features: np.ndarray) -> np.ndarray:
        """Float (n,), of being of the first kind, of features (n, features)."""
        return features @ self.kernel + self.bias

    def score(self, features: np.ndarray) -> np.ndarray:
        """Probability of the first kind, float (n,), 0..1, of features (n, features)."""
        return metrics.sigmoid(self.logit(features))


def fit(first: np.ndarray, second: np.ndarray) -> Head:
    """A head that tells `first` from `second`, both features, float (n, features).

    Ridge regression on +1 and -1, both sides counting the same, then a temperature so that
    the sigmoid of the logit is a probability.
    """
    x = np.concatenate([first, second]).astype(np.float64)
    y = np.repeat([1.0, -1.0], [len(first), len(second)])
    weights = np.repeat([0.5 / len(first), 0.5 / len(second)], [len(first), len(second)]) * len(x)
    mean = np.average(x, axis=0, weights=weights)
    deviation = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=weights)) + 1e-3
    z = (x - mean) / deviation
    kernel = np.linalg.solve((z * weights[:, None]).T @ z + RIDGE * np.eye(z.shape[1]), (z * weights[:, None]).T @ y)
    kernel /= metrics.best_temperature(z @ kernel, (y > 0).astype(int), weights) * deviation
    return Head(kernel.astype(np.float32), float(-(mean @ kernel)))
