"""The bundle that a clone serves is whole, and a harmed one is refused with the command that mends it."""

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from ml_model import Classifier, bundle, images, phantom, preprocessing
from ml_model.evaluation import metrics


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(bundle.current())


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle.current(), tmp_path / "copy"))


def test_every_file_has_the_checksum_in_the_card_and_the_bundle_is_small():
    folder = bundle.current()
    card = bundle.read(folder, verify=(bundle.KERAS_FILE, bundle.SERVING_FILE))
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 20_000_000
    assert card.version == folder.name


def test_card_tells_data_threshold_and_measured_figures():
    card = bundle.read(bundle.current())
    assert card.data["train"]["pneumonia"] > card.data["train"]["normal"] > 1000
    assert 0 < card.operating_points[card.default_operating_point].threshold < 1
    test = card.metrics["test"]
    assert set(test["operating_points"]) == set(card.operating_points) == {"balanced", "screening"}
    assert card.operating_points["screening"].threshold < card.operating_points["balanced"].threshold
    figures = [test["auroc"], test["calibration_error"]]
    figures += [
        point[name]
        for point in test["operating_points"].values()
        for name in ("accuracy", "sensitivity", "specificity")
    ]
    for figure in figures:
        assert figure["low"] <= figure["value"] <= figure["high"]


def test_serving_imports_no_tensorflow():
    program = (
        "import sys; from ml_model import Classifier, bundle, phantom, preprocessing; "
        "c = Classifier(bundle.current()); c.run(preprocessing.to_input(phantom.draw(), c.card.input_size)); "
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_activation_map_fits_the_picture_and_its_range(classifier, xray):
    finding = classifier.diagnose(xray(opacity=1))
    assert finding.activation_map.ndim == 2
    assert finding.activation_map.dtype == np.float32
    assert 0 <= finding.activation_map.min() <= finding.activation_map.max() <= 1
    assert (finding.label == "Pneumonia") == (finding.probability >= finding.threshold)


def test_flat_and_black_pictures_give_numbers(classifier):
    for grey in (0, 128, 255):
        output = classifier.run(np.full((classifier.card.input_size,) * 2 + (1,), grey, np.uint8))
        assert 0 <= output.probability <= 1
        assert 0 <= output.chest_xray_score <= 1
        assert np.isfinite(output.activation_map).all()


def test_threads_get_the_answers_of_one(classifier):
    pictures = [preprocessing.to_input(phantom.draw(seed=seed), classifier.card.input_size) for seed in range(8)]
    alone = [classifier.run(picture).probability for picture in pictures]
    together: list = [None] * len(pictures)

    def work(index: int) -> None:
        for _ in range(5):
            together[index] = classifier.run(pictures[index]).probability

    threads = [threading.Thread(target=work, args=[index]) for index in range(len(pictures))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == pytest.approx(alone, abs=1e-6)


def harm_network(folder: Path) -> None:
    path = folder / bundle.SERVING_FILE
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def remove_network(folder: Path) -> None:
    (folder / bundle.SERVING_FILE).unlink()


def remove_card(folder: Path) -> None:
    (folder / bundle.CARD_FILE).unlink()


def cut_card(folder: Path) -> None:
    path = folder / bundle.CARD_FILE
    path.write_text(path.read_text()[:200])


def edit_card(folder: Path, **changes) -> None:
    path = folder / bundle.CARD_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def reverse_labels(folder: Path) -> None:
    edit_card(folder, labels=["Pneumonia", "Normal"])


def make_threshold_nonsense(folder: Path) -> None:
    edit_card(folder, operating_points={"balanced": {"threshold": 7, "chosen": ""}})


def change_golden_answer(folder: Path) -> None:
    edit_card(
        folder,
        golden=[{"opacity": 0.0, "seed": 0, "probability": 0.5}, {"opacity": 0.0, "seed": 0, "probability": 0.9}],
    )


def give_another_golden_answer_near_zero(folder: Path) -> None:
    golden = json.loads((folder / bundle.CARD_FILE).read_text())["golden"]
    edit_card(folder, golden=[{**golden[0], "probability": 0.006}, *golden[1:]])


WRONG_KINDS: list[dict] = [
    {"operating_points": {"balanced": {"threshold": "0.4", "chosen": ""}}},
    {"operating_points": {"balanced": {"threshold": float("nan"), "chosen": ""}}},
    {"files": None},
    {"metrics": None},
    {"metrics": {"test": None}},
    {"metrics": {"test": {"operating_points": {"balanced": 1}}}},
    {"golden": [{"opacity": 0.0, "seed": 0, "probability": "x"}]},
    {"golden": [{"opacity": 0.0, "seed": -1, "probability": 0.5}]},
    {"gate": {"threshold": True, "measured": {"accepted": {}, "refused": {}}}},
    {"gate": {"threshold": 0.5, "measured": None}},
    {"input_size": "160"},
    {"default_operating_point": []},
]


@pytest.mark.parametrize("changes", WRONG_KINDS, ids=str)
def test_a_field_of_the_wrong_kind_is_a_damaged_card(copied, changes):
    edit_card(copied, **changes)
    with pytest.raises(bundle.BundleError, match="damaged"):
        Classifier(copied)


@pytest.mark.parametrize("version", ["2026.11-3", "2026.11-7"])
def test_golden_pictures_lie_on_both_sides_of_the_threshold(version):
    card = bundle.read(bundle.TRAINED / version)
    below, above = (golden.probability for golden in card.golden)
    assert below < card.operating_points[card.default_operating_point].threshold < above


@pytest.mark.parametrize(
    "harm",
    [
        harm_network,
        remove_network,
        remove_card,
        cut_card,
        reverse_labels,
        make_threshold_nonsense,
        change_golden_answer,
        give_another_golden_answer_near_zero,
    ],
)
def test_a_harmed_bundle_is_refused_with_what_mends_it(copied, harm, monkeypatch):
    harm(copied)
    with pytest.raises(bundle.BundleError, match=r"from where it was made, .* train_model DATA_DIR"):
        Classifier(copied)
    monkeypatch.setattr(bundle, "TRAINED", copied.parent)
    with pytest.raises(bundle.BundleError, match=r"git checkout .* train_model DATA_DIR"):
        Classifier(copied)


def test_a_missing_pointer_is_refused_with_the_command_that_mends_it(tmp_path):
    with pytest.raises(bundle.BundleError, match="train_model"):
        bundle.current(tmp_path)


def test_versions_count_up(tmp_path):
    assert bundle.next_version(tmp_path, 2026, 3) == "2026.03-1"
    (tmp_path / "2026.03-1").mkdir()
    assert bundle.next_version(tmp_path, 2026, 3) == "2026.03-2"
    # Earlier ones may have been deleted; predictions still name them, and so they are not given again.
    (tmp_path / "2026.03-10").mkdir()
    (tmp_path / "2026.03-draft").mkdir()
    assert bundle.next_version(tmp_path, 2026, 3) == "2026.03-11"


def test_full_size_and_small_copies_agree(classifier, xray_data):
    differences, same = [], 0
    originals = sorted((xray_data / "originals").glob("*/*"))
    assert len(originals) == 44
    for original in originals:
        small = xray_data / "chest_xray" / "train" / original.parent.name / original.name
        first, second = classifier.diagnose(original.read_bytes()), classifier.diagnose(small.read_bytes())
        differences.append(abs(first.probability - second.probability))
        same += first.label == second.label
    assert np.mean(differences) <= 0.02
    assert same >= 43


def test_the_card_tells_what_the_network_does_on_the_official_test_split(classifier, xray_data):
    """Every picture of the test split again, through the very function that serves."""
    stored = classifier.card.metrics["test"]
    answers = []
    for label, name in enumerate(("NORMAL", "PNEUMONIA")):
        for path in sorted((xray_data / "chest_xray" / "test" / name).iterdir()):
            finding = classifier.diagnose(path.read_bytes(), limits=images.Limits())
            answers.append((finding.probability, label, finding.accepted))
    probabilities, labels, accepted = map(np.array, zip(*answers, strict=True))
    assert accepted.sum() == stored["accepted"]
    assert metrics.auroc(probabilities, labels) == pytest.approx(stored["auroc"]["value"], abs=0.002)
    for point in stored["operating_points"].values():
        measured = metrics.rates(probabilities, labels, point["threshold"])
        for name, value in measured.items():
            assert value == pytest.approx(point[name]["value"], abs=0.002), name


def test_the_gate_passes_chests_and_refuses_the_rest(classifier, xray_data):
    """Files that fitted the gate are among these; the card counts the others apart."""

    def accepted(folder: str) -> float:
        files = [path for path in (xray_data / folder).rglob("*") if path.is_file()]
        return float(np.mean([classifier.diagnose(path.read_bytes()).accepted for path in files]))

    assert classifier.card.metrics["test"]["accepted"] >= 0.99 * 624
    assert accepted("adult_chest_xray") >= 0.98
    assert accepted("adult_normal") >= 0.98
    for kind in sorted((xray_data / "not_chest_xray").iterdir()):
        assert accepted(f"not_chest_xray/{kind.name}") <= 0.03, kind.name
    for kind, held_out in classifier.card.gate.measured["refused"].items():
        counted = held_out["files held out"]
        assert counted["refused"] >= 0.97 * counted["pictures"], kind


def test_where_none_is_served_those_at_hand_are_named(tmp_path):
    with pytest.raises(bundle.BundleError, match="train a new one"):
        bundle.current(tmp_path)
    (tmp_path / "2026.03-1").mkdir()
    (tmp_path / "2026.03-1" / bundle.CARD_FILE).touch()
    with pytest.raises(bundle.BundleError, match=r"`python manage.py promote_model 2026\.03-1` names one"):
        bundle.current(tmp_path)


def test_a_card_nested_without_end_is_damaged(tmp_path):
    (tmp_path / bundle.CARD_FILE).write_text("[" * 200_000)
    with pytest.raises(bundle.BundleError, match="nested too deep"):
        bundle.read(tmp_path)
