"""Training end to end on a handful of drawn chests: slow to import, so all in one place."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from ml_model import Classifier, bundle, phantom, preprocessing
from ml_model.dataset import DataError
from ml_model.evaluation import drift, promotion

pytestmark = pytest.mark.training

TINY = {"size": 64, "epochs": 2, "batch_size": 8, "validation_share": 0.4, "frozen_blocks": 12} | {
    "small_epochs": 2,
    "small_batch_size": 8,
}


class Interrupted(Exception):
    pass


@dataclass(frozen=True)
class Training:
    """A bundle, the checkpoints it was made from, and what was known when training was interrupted.

    fits: the trunk of each time that something was fitted. first_batches: the pictures that were shown the small
    trunk first, at the start and after the interruption.
    """

    folder: Path
    work: Path
    before_interruption: list[dict[str, float]]
    fits: list[str]
    first_batches: list[np.ndarray]


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> Training:
    """Trained once for most tests of this file, interrupted after the small trunk's first epoch and taken up again."""
    import keras

    from ml_model.training import fitting, pipeline

    root, work = tmp_path_factory.mktemp("trained"), tmp_path_factory.mktemp("work")

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if (self.model.name, epoch) == ("small", 1):
                raise Interrupted

    def run() -> Path:
        return pipeline.train(
            data,
            pipeline.Settings(**TINY),
            work=work,
            root=root,
            other_pictures=data / "other",
            verbose=0,
            say=lambda text: None,
        )

    fit, fits, first_batches = keras.Model.fit, [], []

    def watched(stop):
        def replacement(self, batches, *, callbacks, **options):
            fits.append(self.name)
            if self.name == "small":
                first_batches.append(next(iter(batches))[0].numpy())
            return fit(self, batches, callbacks=[*callbacks, *stop], **options)

        return replacement

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "fit", watched([Stop()]))
        with pytest.raises(Interrupted):
            run()
        (epochs,) = work.glob("*/small/epochs.csv")
        history = fitting.read_history(epochs)
        patch.setattr(keras.Model, "fit", watched([]))
        folder = run()
    return Training(folder, work, before_interruption=history, fits=fits, first_batches=first_batches)


@pytest.fixture(scope="module")
def kept(trained):
    """The network of the bundle as Keras reads it."""
    import keras

    return keras.saving.load_model(trained.folder / bundle.KERAS_FILE, compile=False)


def test_training_writes_a_bundle_that_serves(trained):
    folder = trained.folder
    assert bundle.current(folder.parent) == folder
    (line,) = (folder.parent / promotion.LOG).read_text().splitlines()
    assert (json.loads(line)["version"], json.loads(line)["before"]) == (folder.name, None)
    card = bundle.read(folder, verify=(bundle.KERAS_FILE, bundle.SERVING_FILE))
    assert {trunk: len(rows) for trunk, rows in card.training["history"].items()} == {"pretrained": 2, "small": 2}
    assert TINY.items() <= card.training.items()
    assert card.training["architecture"].startswith("the mean of EfficientNet-Lite0")
    assert card.data["train"]["normal"] + card.data["validation"]["normal"] == 16
    assert set(card.metrics) == {"validation", "validation_augmented"}
    reference = drift.read(folder)
    assert len(reference.probabilities) == len(reference.chest_xray_scores) == card.metrics["validation"]["pictures"]
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".")] == []


def test_the_source_is_told_of_the_public_set_alone(trained, data):
    card = bundle.read(trained.folder)
    assert (card.data["name"], card.data["origin"]) == (data.name, "not told")
    assert not {"authors", "licence", "population"} & set(card.data)
    assert "of whom nothing is told" in card.intended_use
    assert "children" not in card.intended_use


def test_the_gate_is_fitted_measured_and_served(trained, data):
    folder = trained.folder
    classifier = Classifier(folder)
    gate = classifier.card.gate
    assert set(gate.measured["refused"]) == {"grain", "blocks"}
    assert gate.measured["refused"]["grain"]["whole kind held out"]["pictures"] == 12
    assert gate.measured["accepted"]["validation"]["accepted"] > 0
    chests = [classifier.diagnose(path.read_bytes()) for path in (data / "train" / "NORMAL").iterdir()]
    others = [classifier.diagnose(path.read_bytes()) for path in (data / "other" / "grain").iterdir()]
    assert np.mean([f.accepted for f in chests]) > np.mean([f.accepted for f in others])
    assert all(f.accepted == (f.chest_xray_score >= gate.threshold) for f in chests + others)


@pytest.fixture(scope="module")
def further(data, tmp_path_factory) -> dict[str, Path]:
    """Folders of reviewed pictures and of another hospital's chests, as options of a training."""
    extra, elsewhere = (tmp_path_factory.mktemp(name) for name in ("extra", "elsewhere"))
    (extra / "PNEUMONIA").mkdir()
    for seed in range(3):
        phantom.draw(96, 80, opacity=1.0, seed=100 + seed).save(extra / "PNEUMONIA" / f"{seed}.png")
    shutil.copy(data / "train" / "NORMAL" / "IM-0001-0001.png", extra / "PNEUMONIA" / "known.png")
    for seed in range(8):
        phantom.draw(96, 80, opacity=seed % 2, seed=200 + seed).save(elsewhere / f"{seed}.png")
    return {"extra": extra, "other_chests": elsewhere}


@pytest.fixture(scope="module")
def student(trained, data, further, tmp_path_factory) -> tuple[Path, list[str]]:
    """The bundle of a second training, and what it said.

    A student of the first, which has seen chests of another hospital and reviewed pictures too, without a gate.
    """
    from ml_model.training import pipeline

    root = tmp_path_factory.mktemp("trained")
    bundle.make_current(Path(shutil.copytree(trained.folder, root / trained.folder.name)))
    told: list[str] = []
    folder = pipeline.train(
        data,
        pipeline.Settings(**TINY),
        work=trained.work,
        root=root,
        **further,
        teacher=Classifier(trained.folder),
        verbose=0,
        say=told.append,
    )
    return folder, told


def test_reviewed_pictures_are_trained_on_and_the_served_model_stays(trained, student):
    new, told = student
    before, after = bundle.read(trained.folder), bundle.read(new)
    assert "extra for training: 0 normal, 3 pneumonia; 1 left out, since DATA_DIR has them" in told
    assert after.data["extra"] == {"normal": 0, "pneumonia": 3, "patients": 3, "left_out": 1}
    assert after.data["train"]["pneumonia"] == before.data["train"]["pneumonia"] + 3
    assert after.data["validation"] == before.data["validation"]
    assert bundle.current(new.parent).name == trained.folder.name


def test_a_student_learns_from_a_bundle_and_is_smaller(trained, student):
    folder, _ = student
    before, card = bundle.read(trained.folder), bundle.read(folder)
    assert card.data["teacher"] == {"version": before.version, "sha256": before.files[bundle.SERVING_FILE]}
    assert card.data["without_labels"]["pictures"] in range(1, 8), "about half of them"
    assert [row["epoch"] for row in card.training["history"]["student"]] == [0, 1]
    assert card.training["best_epochs"] == {"student": 2}
    assert card.training["architecture"].startswith("EfficientNet-Lite0")
    assert {"small_epochs", "label_smoothing", "pretrained"}.isdisjoint(card.training)
    assert card.training["dropout"] == 0.3
    sizes = [(each / bundle.SERVING_FILE).stat().st_size for each in (folder, trained.folder)]
    assert sizes[0] < sizes[1]
    assert Classifier(folder).run(preprocessing.to_input(phantom.draw(), 64)).activation_map.shape == (4, 4)


def test_a_student_takes_pictures_as_its_teacher(trained, data, tmp_path):
    from ml_model.training import pipeline

    with pytest.raises(DataError, match="64 pixels, not of 96"):
        pipeline.train(
            data, pipeline.Settings(size=96), work=tmp_path, root=tmp_path, teacher=Classifier(trained.folder)
        )


def test_a_teacher_was_made_here(trained, data, tmp_path):
    from ml_model.training import pipeline

    teacher = Classifier(trained.folder)
    teacher.card = replace(teacher.card, data={})
    with pytest.raises(DataError, match="was trained elsewhere"):
        pipeline.train(data, pipeline.Settings(**TINY), work=tmp_path, root=tmp_path, teacher=teacher)


def test_with_another_backend_a_student_is_trained_and_tensorflow_makes_the_bundle(
    trained, student, data, further, tmp_path, monkeypatch
):
    """Where the student's second epoch is to come, for the fitting itself is TensorFlow's here."""
    import keras

    from ml_model.training import fitting, pipeline

    root, work = tmp_path / "trained", Path(shutil.copytree(trained.work, tmp_path / "work"))
    (log,) = work.glob("*/student-*/epochs.csv")
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:2]))

    def run(**options) -> None:
        pipeline.train(
            data, pipeline.Settings(**TINY), work=work, root=root, verbose=0, say=lambda text: None, **options
        )

    fits: list[int] = []
    monkeypatch.setattr(keras.Model, "fit", lambda *args, epochs, **options: fits.append(epochs))
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    monkeypatch.setattr(fitting, "compiled_whole", lambda: False)
    with pytest.raises(DataError, match="can train a student alone"):
        run()
    assert fits == []
    with pytest.raises(DataError, match="is trained, by jax"):
        run(teacher=Classifier(trained.folder), **further)
    assert fits == [TINY["epochs"]]
    assert not root.exists()


def test_a_student_starts_from_its_teachers_trunk(kept):
    from ml_model import network
    from ml_model.training import distillation

    distillation.start_from(student := network.student(64), kept)
    assert np.array_equal(student.get_layer("stem").get_weights(), kept.get_layer("stem").get_weights())


def test_without_other_pictures_there_is_no_gate(student, xray):
    finding = Classifier(student[0]).diagnose(xray())
    assert (finding.accepted, finding.chest_xray_score) == (True, None)


def test_two_trainings_that_end_together_get_a_version_each(trained, data, tmp_path, monkeypatch):
    from ml_model.training import pipeline

    next_version, asked = bundle.next_version, []

    def too_late(root, year, month):
        """Another training takes the version before it is used."""
        version = next_version(root, year, month)
        if not asked:
            shutil.copytree(trained.folder, root / version)
        asked.append(version)
        return version

    monkeypatch.setattr(bundle, "next_version", too_late)
    folder = pipeline.train(
        data, pipeline.Settings(**TINY), work=trained.work, root=tmp_path, verbose=0, say=lambda text: None
    )
    assert [folder.name, bundle.read(folder).version] == [asked[1]] * 2
    assert asked[0] != asked[1]
    assert {path.name for path in tmp_path.iterdir()} <= {*asked, "current", "promotions.jsonl"}, "no draft is left"


def test_a_network_that_says_the_same_of_all_is_no_model(trained, data, tmp_path, monkeypatch):
    from ml_model.training import export, pipeline

    monkeypatch.setattr(export, "logits_of", lambda model: lambda inputs: np.zeros(len(inputs)))
    with pytest.raises(DataError, match=r"says the same of every picture: .*--learning-rate"):
        pipeline.train(
            data, pipeline.Settings(**TINY), work=trained.work, root=tmp_path, verbose=0, say=lambda text: None
        )


def test_other_pictures_without_a_kind_are_refused(trained, data, tmp_path):
    from ml_model.training import pipeline

    flat = Path(shutil.copytree(data / "other" / "grain", tmp_path / "flat"))
    with pytest.raises(DataError, match=r"flat/.*png is of no kind. .*flat/KIND"):
        pipeline.train(
            data,
            pipeline.Settings(**TINY),
            work=trained.work,
            root=tmp_path,
            other_pictures=flat,
            verbose=0,
            say=lambda text: None,
        )


def test_keras_and_litert_are_the_same_network(trained, kept):
    classifier = Classifier(trained.folder)
    pictures = [preprocessing.to_input(phantom.draw(opacity=seed / 4, seed=seed), 64) for seed in range(4)]
    keras_says = np.asarray(kept(np.stack(pictures).astype(np.float32)))[:, 0]
    assert [classifier.run(picture).probability for picture in pictures] == pytest.approx(keras_says, abs=1e-4)


def test_the_activation_map_adds_up_to_the_logit(kept):
    from ml_model import network
    from ml_model.training import export

    pixels = preprocessing.to_input(phantom.draw(opacity=1), 64)[np.newaxis]
    push = np.asarray(export.push_map(kept)(pixels.astype(np.float32)))
    _, bias = kept.get_layer(network.HEAD).get_weights()
    assert push.mean() + bias[0] == pytest.approx(export.logits_of(kept)(pixels)[0], abs=1e-3)


def test_training_again_takes_up_what_was_done(trained, data, tmp_path, monkeypatch):
    """It finds every epoch finished: it fits nothing, exports the same network, and serves it where none could be."""
    import keras

    from ml_model.training import pipeline

    harmed = Path(shutil.copytree(trained.folder, tmp_path / trained.folder.name))
    (harmed / bundle.SERVING_FILE).write_bytes(b"harmed")
    bundle.make_current(harmed)
    monkeypatch.setattr(keras.Model, "fit", lambda *args, **kwargs: pytest.fail("fitted again"))
    again = pipeline.train(
        data, pipeline.Settings(**TINY), work=trained.work, root=tmp_path, verbose=0, say=lambda text: None
    )
    assert bundle.read(again).golden == bundle.read(trained.folder).golden
    assert bundle.current(tmp_path) == again != harmed


def test_training_begins_anew_where_checkpoints_are_of_other_code(trained, data, tmp_path, monkeypatch):
    import keras

    from ml_model.training import fitting, pipeline

    other = tmp_path / "other.py"
    other.write_text(Path(fitting.__file__).read_text() + "# changed\n")
    monkeypatch.setattr(fitting, "__file__", str(other))
    work = Path(shutil.copytree(trained.work, tmp_path / "work"))

    def fit(*args, **options):
        raise Interrupted

    monkeypatch.setattr(keras.Model, "fit", fit)
    with pytest.raises(Interrupted):
        pipeline.train(data, pipeline.Settings(**TINY), work=work, root=tmp_path, verbose=0, say=lambda text: None)


def test_training_goes_on_after_an_interruption(trained):
    (first,) = trained.before_interruption
    assert trained.fits == ["pretrained", "small", "small"]
    history = bundle.read(trained.folder).training["history"]["small"]
    assert [row["epoch"] for row in history] == [0, 1]
    assert history[0] == first
    assert not list(trained.work.rglob("latest*"))


def test_after_an_interruption_pictures_are_spoiled_anew(trained):
    before, after = trained.first_batches
    assert not np.array_equal(before, after)


def test_a_student_without_any_loss_is_told(trained, data, tmp_path, monkeypatch):
    import keras

    from ml_model.training import pipeline

    def fit(model, lessons, *, callbacks, **options):
        (log,) = (each for each in callbacks if isinstance(each, keras.callbacks.CSVLogger))
        Path(log.filename).write_text("epoch,val_loss\n0,nan\n")

    monkeypatch.setattr(keras.Model, "fit", fit)
    with pytest.raises(DataError, match=r"student learned nothing.*--learning-rate"):
        pipeline.train(
            data,
            pipeline.Settings(**TINY),
            work=tmp_path,
            root=tmp_path,
            teacher=Classifier(trained.folder),
            verbose=0,
            say=lambda text: None,
        )


def test_the_gate_is_fitted_with_one_picture_of_another_hospital(kept, data, tmp_path):
    from ml_model.training import gate

    phantom.draw(96, 80).save(tmp_path / "one.png")
    chests = np.stack([preprocessing.to_input(phantom.draw(seed=seed), TINY["size"]) for seed in range(6)])
    _, facts = gate.build(kept, chests, chests, tmp_path, data / "other", augment=lambda pictures: pictures)
    assert facts.measured["accepted"]["validation"]["pictures"] == 6
