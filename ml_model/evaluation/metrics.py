"""Figures for a two-class test, with intervals, in NumPy alone.

Throughout: probabilities float (n,) of pneumonia, 0..1; labels (n,), 1 is pneumonia.
"""

import numpy as np

BOOTSTRAP_SAMPLES = 2000


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits of any size, without overflow."""
    return 1 / (1 + np.exp(-np.clip(logits, -500, 500)))


def auroc(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Area under the ROC curve: how often an ill picture scores above a healthy one, ties count half.

    weights: how many times each row counts. NaN where a class is absent.
    """
    weights = np.ones(len(labels)) if weights is None else weights
    levels, level = np.unique(scores, return_inverse=True)
    ill = np.bincount(level, weights * (labels == 1), len(levels))
    well = np.bincount(level, weights * (labels == 0), len(levels))
    if not ill.sum() or not well.sum():
        return float("nan")
    below = np.cumsum(well) - well
    return float((ill * (below + well / 2)).sum() / (ill.sum() * well.sum()))


def rates(
    probabilities: np.ndarray, labels: np.ndarray, threshold: float, weights: np.ndarray | None = None
) -> dict[str, float]:
    """accuracy, sensitivity, specificity and auroc; pneumonia is answered from `threshold` upward."""
    weights = np.ones(len(labels)) if weights is None else weights
    right = (probabilities >= threshold) == (labels == 1)
    ill, well = weights * (labels == 1), weights * (labels == 0)

    def share(of: np.ndarray) -> float:
        return float((of * right).sum() / of.sum()) if of.sum() else float("nan")

    return {
        "accuracy": share(weights),
        "sensitivity": share(ill),
        "specificity": share(well),
        "auroc": auroc(probabilities, labels, weights),
    }


def measure(
    probabilities: np.ndarray, labels: np.ndarray, patients: np.ndarray, threshold: float, seed: int = 0
) -> dict:
    """`rates`, each as value, low and high of a 95 % interval, and the counts behind them.

    The interval is the percentile bootstrap over patients (Efron 1979; Field & Welsh 2007
    on clusters): pictures of one patient are drawn together, since they resemble each other.
    """
    _, patient = np.unique(patients, return_inverse=True)
    count = patient.max() + 1
    generator = np.random.Generator(np.random.PCG64(seed))
    draws = [
        rates(
            probabilities, labels, threshold, np.bincount(generator.integers(0, count, count), minlength=count)[patient]
        )
        for _ in range(BOOTSTRAP_SAMPLES)
    ]
    said = probabilities >= threshold
    figures: dict = {
        name: {
            "value": round(value, 4),
            "low": round(float(np.nanpercentile([d[name] for d in draws], 2.5)), 4),
            "high": round(float(np.nanpercentile([d[name] for d in draws], 97.5)), 4),
        }
        for name, value in rates(probabilities, labels, threshold).items()
    }
    figures["threshold"] = round(float(threshold), 4)
    figures["counts"] = {
        "pictures": len(labels),
        "patients": int(count),
        "true_positive": int((said & (labels == 1)).sum()),
        "false_negative": int((~said & (labels == 1)).sum()),
        "true_negative": int((~said & (labels == 0)).sum()),
        "false_positive": int((said & (labels == 0)).sum()),
    }
    return figures


def equal_error_threshold(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The threshold at which sensitivity and specificity are nearest to each other.

    Midway between two neighbouring probabilities, so that rounding turns no answer.
    """
    levels = np.unique(probabilities)
    cuts = (levels[1:] + levels[:-1]) / 2
    sensitivity = 1 - np.searchsorted(np.sort(probabilities[labels == 1]), cuts) / (labels == 1).sum()
    specificity = np.searchsorted(np.sort(probabilities[labels == 0]), cuts) / (labels == 0).sum()
    return float(cuts[np.argmin(np.abs(sensitivity - specificity))])


def best_temperature(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    """The divisor of `logits` with the least weighted cross-entropy, between 0.1 and 10 (Guo et al. 2017)."""

    def loss(log_temperature: float) -> float:
        margin = np.where(labels == 1, 1, -1) * logits / np.exp(log_temperature)
        return float((weights * np.logaddexp(0, -margin)).sum())

    low, high = np.log(0.1), np.log(10)
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(60):  # golden-section search: the loss has one minimum
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return float(np.exp((low + high) / 2))
