"""Metrics of a two-class test, with intervals, in NumPy alone.

Throughout: probabilities float (n,) of pneumonia, 0..1; labels (n,), 1 is pneumonia.
"""

import math

import numpy as np

BOOTSTRAP_SAMPLES = 2000
Z = 1.959964
"""Of the normal distribution: 95 % lie within so many deviations."""


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """The logistic function, without overflow for logits of any size."""
    return 1 / (1 + np.exp(-np.clip(logits, -500, 500)))


def auroc(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Area under the ROC curve: how often an ill picture scores above a healthy one, ties count half.

    weights: how many times each row counts. NaN where a class is absent.
    """
    weights = np.ones(len(labels)) if weights is None else weights
    return float(aurocs(scores, labels, weights[np.newaxis])[0])


def aurocs(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`auroc` for each row of `weights`, (k, n), at once: (k,)."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # of each run of equal scores
    ill = np.add.reduceat(weights[:, order] * (labels[order] == 1), starts, axis=1)
    well = np.add.reduceat(weights[:, order] * (labels[order] == 0), starts, axis=1)
    below = np.cumsum(well, axis=1) - well
    with np.errstate(invalid="ignore"):
        return (ill * (below + well / 2)).sum(axis=1) / (ill.sum(axis=1) * well.sum(axis=1))


def rates(
    probabilities: np.ndarray, labels: np.ndarray, threshold: float, weights: np.ndarray | None = None
) -> dict[str, float]:
    """accuracy, sensitivity and specificity; pneumonia is answered from `threshold` upward."""
    weights = np.ones(len(labels)) if weights is None else weights
    right = (probabilities >= threshold) == (labels == 1)
    ill, well = weights * (labels == 1), weights * (labels == 0)

    def share(of: np.ndarray) -> float:
        return float((of * right).sum() / of.sum()) if of.sum() else float("nan")

    return {
        "accuracy": share(weights),
        "sensitivity": share(ill),
        "specificity": share(well),
    }


def calibration_error(
    probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None, bins: int = 15
) -> float:
    """Expected calibration error, 0..1: how far stated probability and share of the ill lie apart.

    Mean over `bins` equal ranges of probability, each counting as many times as it has
    pictures (Naeini et al. 2015; 15 bins as in Guo et al. 2017). It depends on the share of ill among the
    pictures: probabilities are calibrated for as many ill as healthy, which `even_weights` makes of any pictures.
    """
    weights = np.ones(len(labels)) if weights is None else weights
    index = np.minimum((probabilities * bins).astype(int), bins - 1)
    gaps = np.bincount(index, weights * (probabilities - labels), bins)
    return float(np.abs(gaps).sum() / weights.sum())


def even_weights(labels: np.ndarray) -> np.ndarray:
    """A weight per row, with mean 1, so that both classes count the same: (n,)."""
    ill = float((labels == 1).mean())
    return np.where(labels == 1, 0.5 / ill, 0.5 / (1 - ill))


def wilson(share: float, count: float) -> tuple[float, float]:
    """The 95 % interval of a share of `count` independent cases, 0..1 (Wilson 1927)."""
    square = Z**2 / count
    centre, half = share + square / 2, math.sqrt(square * (share * (1 - share) + square / 4))
    return max((centre - half) / (1 + square), 0.0), min((centre + half) / (1 + square), 1.0)


def measure(
    probabilities: np.ndarray, labels: np.ndarray, patients: np.ndarray, thresholds: dict[str, float], seed: int = 0
) -> dict:
    """What a model card tells of one set of pictures.

    thresholds: by name of the operating point. Gives the counts, `auroc`, `calibration_error`, and
    under `operating_points` by name `threshold`, `accuracy`, `sensitivity`, `specificity` and the
    four counts behind them. Each figure has `value`, `low` and `high` of a 95 % interval:

    - accuracy, sensitivity, specificity: Wilson's, with the effective sample size that a bootstrap over patients
      implies (Dean & Pagano 2015), at most the number of patients, because the bootstrap is too narrow where few
      answers are wrong;
    - AUROC: percentile bootstrap over patients (Efron 1979; Field & Welsh 2007 on clusters); at exactly 0 or 1, of
      which every resample says the same, Wilson's on the number of patients of the smaller class;
    - `calibration_error`, at the pictures' own share of ill: the same bootstrap. It is a sum of absolute values, which
      resampling enlarges, so its interval lies a little too high.
    """
    _, patient = np.unique(patients, return_inverse=True)
    count = int(patient.max()) + 1
    generator = np.random.Generator(np.random.PCG64(seed))

    def figures(weights: np.ndarray | None) -> dict[tuple[str, str], float]:
        result = {
            ("", "auroc"): auroc(probabilities, labels, weights),
            ("", "calibration_error"): calibration_error(probabilities, labels, weights),
        }
        for point, threshold in thresholds.items():
            for name, value in rates(probabilities, labels, threshold, weights).items():
                result[point, name] = value
        return result

    draws = [
        figures(np.bincount(generator.integers(0, count, count), minlength=count)[patient])
        for _ in range(BOOTSTRAP_SAMPLES)
    ]
    measured: dict = {
        "pictures": len(labels),
        "patients": count,
        "normal": int((labels == 0).sum()),
        "pneumonia": int((labels == 1).sum()),
        "operating_points": {},
    }
    for point, threshold in thresholds.items():
        said = probabilities >= threshold
        measured["operating_points"][point] = {
            "threshold": float(threshold),
            "true_positive": int((said & (labels == 1)).sum()),
            "false_negative": int((~said & (labels == 1)).sum()),
            "true_negative": int((~said & (labels == 0)).sum()),
            "false_positive": int((said & (labels == 0)).sum()),
        }
    ill, well = (len(set(patient[labels == label])) for label in (1, 0))
    tried = {"accuracy": count, "sensitivity": ill, "specificity": well, "auroc": min(ill, well)}
    for (point, name), value in figures(None).items():
        drawn = np.array([draw[point, name] for draw in draws])
        if point or (name in tried and value in (0, 1)):
            variance = float(np.nanvar(drawn))
            low, high = wilson(value, min(tried[name], value * (1 - value) / variance) if variance else tried[name])
        else:
            low, high = np.nanpercentile(drawn, (2.5, 97.5))
        target = measured["operating_points"][point] if point else measured
        target[name] = {"value": round(value, 6), "low": round(float(low), 6), "high": round(float(high), 6)}
    return measured


def equal_error_threshold(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The threshold at which sensitivity and specificity are nearest to each other.

    Between two neighbouring probabilities, so that no answer hangs on the last digit.
    """
    levels = np.unique(probabilities)
    cuts = levels[1:]  # the answers are the same wherever between two levels the threshold lies
    sensitivity = 1 - np.searchsorted(np.sort(probabilities[labels == 1]), cuts) / (labels == 1).sum()
    specificity = np.searchsorted(np.sort(probabilities[labels == 0]), cuts) / (labels == 0).sum()
    best = int(np.argmin(np.abs(sensitivity - specificity)))
    return _between(levels[best], levels[best + 1])


def threshold_for_sensitivity(probabilities: np.ndarray, labels: np.ndarray, sensitivity: float) -> float:
    """The highest threshold that finds at least the share `sensitivity` of the ill, between probabilities as above."""
    ill = np.sort(probabilities[labels == 1])
    index = int((1 - sensitivity) * len(ill))
    below = probabilities[probabilities < ill[index]]
    return _between(below.max(initial=0.0), ill[index])


def _between(low: float, high: float) -> float:
    """About the middle of `low` and `high`, with four digits or as many more as it takes to lie between them."""
    middle = float(low + high) / 2
    return next((cut for digits in range(4, 17) if low < (cut := round(middle, digits)) < high), middle)


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
