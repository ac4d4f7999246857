"""The figures, against cases whose answer is known."""

import numpy as np
import pytest

from ml_model.evaluation import metrics

LABELS = np.array([0, 0, 0, 1, 1, 1])


def test_auroc_of_order_ties_and_reverse():
    assert metrics.auroc(np.array([1, 2, 3, 4, 5, 6]), LABELS) == 1
    assert metrics.auroc(np.array([6, 5, 4, 3, 2, 1]), LABELS) == 0
    assert metrics.auroc(np.ones(6), LABELS) == 0.5
    assert metrics.auroc(np.array([1, 2, 5, 3, 5, 6]), LABELS) == pytest.approx((3 * 3 - 1 - 0.5) / 9)
    assert np.isnan(metrics.auroc(np.array([1.0, 2.0]), np.array([1, 1])))


def test_weights_count_as_copies():
    scores, weights = np.array([0.1, 0.6, 0.3, 0.4, 0.7, 0.2]), np.array([2, 1, 3, 1, 2, 2])
    copies = np.repeat(scores, weights), np.repeat(LABELS, weights)
    assert metrics.auroc(scores, LABELS, weights) == pytest.approx(metrics.auroc(*copies))
    weighted, repeated = metrics.rates(scores, LABELS, 0.5, weights), metrics.rates(*copies, 0.5)
    assert weighted == pytest.approx(repeated)


def test_rates_answer_pneumonia_from_the_threshold_upward():
    rates = metrics.rates(np.array([0.1, 0.5, 0.2, 0.5, 0.9, 0.4]), LABELS, 0.5)
    assert rates["sensitivity"] == pytest.approx(2 / 3)
    assert rates["specificity"] == pytest.approx(2 / 3)
    assert rates["accuracy"] == pytest.approx(4 / 6)


def test_interval_holds_the_value_and_widens_when_pictures_share_patients():
    generator = np.random.Generator(np.random.PCG64(5))
    labels = np.repeat(generator.integers(0, 2, 60), 5)
    scores = np.clip(labels * 0.3 + np.repeat(generator.random(60), 5) * 0.7, 0, 1)
    alone = metrics.measure(scores, labels, np.arange(300), {"x": 0.5})["operating_points"]["x"]["accuracy"]
    grouped = metrics.measure(scores, labels, np.repeat(np.arange(60), 5), {"x": 0.5})["operating_points"]["x"][
        "accuracy"
    ]
    assert grouped["low"] <= grouped["value"] <= grouped["high"]
    assert grouped["high"] - grouped["low"] > alone["high"] - alone["low"]


def test_where_all_are_right_the_interval_is_wilsons_on_the_patients():
    labels, patients = np.repeat([0, 1], [10, 20]), np.repeat(np.arange(15), 2)
    figures = metrics.measure(np.where(labels == 1, 0.9, 0.1), labels, patients, {"x": 0.5})
    at = figures["operating_points"]["x"]
    # n / (n + 1.96 squared), of 10 ill, 5 healthy and 15 patients
    assert at["sensitivity"] == {"value": 1.0, "low": pytest.approx(0.7225, abs=1e-4), "high": 1.0}
    assert at["specificity"] == figures["auroc"] == {"value": 1.0, "low": pytest.approx(0.5655, abs=1e-4), "high": 1.0}
    assert at["accuracy"]["low"] == pytest.approx(0.7961, abs=1e-4)
    assert metrics.wilson(0.0, 10) == pytest.approx((0, 0.2775), abs=1e-4)
    assert metrics.wilson(0.3, 50) == pytest.approx((0.1910, 0.4375), abs=1e-4)


def test_answers_that_are_quite_sure_and_all_right_are_measured():
    labels = np.tile([0, 1], 20)
    figures = metrics.measure(labels.astype(float), labels, np.arange(40), {"x": 0.5})
    assert figures["calibration_error"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert figures["auroc"]["low"] == pytest.approx(0.839, abs=1e-3)


def test_one_error_less_never_lowers_an_interval():
    labels, patients = np.ones(390, int), np.arange(390) // 2
    labels[-90:] = 0
    ends = []
    for errors in (3, 2, 1, 0):
        scores = np.where(labels == 1, 0.9, 0.1)
        scores[2 * np.arange(errors)] = 0.1
        at = metrics.measure(scores, labels, patients, {"x": 0.5})["operating_points"]["x"]["sensitivity"]
        ends.append((at["low"], at["high"]))
    assert ends == sorted(ends)
    assert ends[2][1] < 1.0


@pytest.mark.parametrize("scale", [1.0, 1e-7])
def test_thresholds_turn_no_answer_and_are_never_zero(scale):
    generator = np.random.Generator(np.random.PCG64(9))
    for _ in range(50):
        labels = (np.arange(600) % 3 > 0).astype(int)
        scores = scale * metrics.sigmoid(generator.normal(labels * 6.0 - 6, 2.0))
        for threshold in (
            metrics.equal_error_threshold(scores, labels),
            metrics.threshold_for_sensitivity(scores, labels, 0.98),
        ):
            assert 0 < threshold < 1
            assert threshold not in scores
        assert np.mean(scores[labels == 1] >= threshold) >= 0.98


def test_equal_error_threshold_balances_the_two_rates():
    generator = np.random.Generator(np.random.PCG64(6))
    labels = (np.arange(2000) % 4 > 0).astype(int)
    scores = metrics.sigmoid(generator.normal(labels * 2.0, 1.0))
    rates = metrics.rates(scores, labels, metrics.equal_error_threshold(scores, labels))
    assert rates["sensitivity"] == pytest.approx(rates["specificity"], abs=0.01)


def test_calibration_error_is_the_gap_between_promise_and_share():
    probabilities = np.repeat([0.1, 0.9], 100)
    honest = np.tile(np.repeat([1, 0], [10, 90]), 2)
    honest[100:] = 1 - honest[100:]
    assert metrics.calibration_error(probabilities, honest) == pytest.approx(0, abs=1e-9)
    assert metrics.calibration_error(probabilities, np.ones(200)) == pytest.approx(0.5)
    assert metrics.calibration_error(np.ones(5), np.ones(5)) == 0
    mostly_ill = np.repeat([1, 0], [75, 25])
    assert metrics.calibration_error(np.full(100, 0.5), mostly_ill) == pytest.approx(0.25)
    weights = metrics.even_weights(mostly_ill)
    assert metrics.calibration_error(np.full(100, 0.5), mostly_ill, weights) == pytest.approx(0)


@pytest.mark.parametrize("wanted", [0.5, 0.9, 0.98, 1.0])
def test_threshold_for_sensitivity_is_the_highest_that_reaches_it(wanted):
    generator = np.random.Generator(np.random.PCG64(8))
    labels = (np.arange(500) % 3 > 0).astype(int)
    scores = metrics.sigmoid(generator.normal(labels * 2.0, 1.0))
    threshold = metrics.threshold_for_sensitivity(scores, labels, wanted)
    found = (scores[labels == 1] >= threshold).mean()
    assert wanted <= found < wanted + 2 / (labels == 1).sum() + 1e-9


def test_temperature_undoes_overconfidence():
    generator = np.random.Generator(np.random.PCG64(7))
    logits = generator.normal(0, 2, 20_000)
    labels = (generator.random(20_000) < metrics.sigmoid(logits)).astype(int)
    assert metrics.best_temperature(logits * 3, labels, np.ones(20_000)) == pytest.approx(3, rel=0.05)
