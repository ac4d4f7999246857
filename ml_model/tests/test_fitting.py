"""What is checked before training, and what is read when it goes on."""

import importlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from ml_model.dataset import DataError, PictureSet
from ml_model.tests.test_training import TINY

pytestmark = pytest.mark.training


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"size": 100}, "--size must be a multiple of 32"),
        ({"size": 0}, "--size must be a multiple of 32"),
        ({"epochs": 0}, "--epochs must be at least 1"),
        ({"small_epochs": -1}, "--small-epochs"),
        ({"batch_size": 0}, "--batch-size"),
        ({"learning_rate": -1.0}, "--learning-rate"),
        ({"learning_rate": float("nan")}, "--learning-rate"),
        ({"validation_share": 1.0}, "--validation-share"),
        ({"frozen_blocks": -1}, "--frozen-blocks"),
        ({"frozen_blocks": 99}, "--frozen-blocks"),
        ({"seed": -1}, "--seed"),
    ],
)
def test_settings_without_sense_are_refused_before_training(options, told):
    from ml_model.training import pipeline

    with pytest.raises(ValueError, match=told):
        pipeline.Settings(**options)


def test_a_row_that_a_full_disk_cut_off_is_taken_out(tmp_path):
    from ml_model.training import fitting

    log = tmp_path / "epochs.csv"
    log.write_text("epoch,val_loss\n0,0.5\n1,0.4\n1,0.3\n2,0.")
    expected = [{"epoch": 0.0, "val_loss": 0.5}, {"epoch": 1.0, "val_loss": 0.3}]
    assert fitting.read_history(log) == expected
    with log.open("a") as file:
        file.write("2,0.2\n")
    assert fitting.read_history(log) == [*expected, {"epoch": 2.0, "val_loss": 0.2}]


def test_a_checkpoint_that_is_cut_off_leaves_the_one_before(tmp_path, monkeypatch):
    import keras

    from ml_model.training import fitting

    frozen = keras.layers.Dense(1, trainable=False)
    model = keras.Sequential([keras.Input((1,)), frozen, keras.layers.Dense(1)])
    model.compile(keras.optimizers.AdamW(), "mse")
    backup = tmp_path / fitting.BACKUP
    keep = fitting.KeepLast(model, backup)
    assert fitting.take_up(model, backup, steps=2) == 0
    model.fit(np.zeros((6, 1)), np.ones((6, 1)), batch_size=1, verbose=0)
    keep.on_epoch_end(0)
    weights = model.get_weights()

    def cut_off(path):
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "save_weights", cut_off)
    with pytest.raises(KeyboardInterrupt):
        keep.on_epoch_end(1)
    model.set_weights([np.zeros_like(values) for values in weights])
    assert fitting.take_up(model, backup, steps=2) == 3
    assert all(map(np.array_equal, model.get_weights(), weights))


def test_a_damaged_checkpoint_is_named(tmp_path):
    import keras

    from ml_model.training import fitting

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.AdamW(), "mse")
    backup = tmp_path / "latest.weights.h5"
    fitting.KeepLast(model, backup).on_epoch_end(0)
    backup.write_bytes(backup.read_bytes()[:2000])
    with pytest.raises(DataError, match=f"The checkpoint {backup} is damaged. Delete it"):
        fitting.take_up(model, backup, steps=1)


def test_a_disk_without_room_is_told_before_hdf5_writes(tmp_path, monkeypatch):
    import keras

    from ml_model.training import fitting

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(OSError, match="No space left on device") as told:
        fitting.KeepLast(model, tmp_path / "latest.weights.h5").on_epoch_end(0)
    assert told.value.filename == str(tmp_path)


@pytest.mark.parametrize(
    "module",
    [
        "evaluation.metrics",
        "network",
        "training.augmentation",
        "training.fitting",
        "training.imagenet",
        "training.normalisation",
    ],
)
def test_other_code_leaves_the_checkpoints_of_a_training_alone(tmp_path, monkeypatch, module):
    from ml_model.training import fitting

    none = PictureSet(np.empty((0, 64, 64, 1), np.uint8), np.empty(0, np.float32), np.empty(0, str), ())
    before = fitting.fingerprint(none, none, fitting.Settings())
    assert fitting.fingerprint(none, none, fitting.Settings()) == before
    code = importlib.import_module(f"ml_model.{module}")
    other = tmp_path / "other.py"
    other.write_text(Path(code.__file__).read_text() + "# changed\n")
    monkeypatch.setattr(code, "__file__", str(other))
    assert fitting.fingerprint(none, none, fitting.Settings()) != before


def test_the_same_training_begun_twice_is_told(data, tmp_path, monkeypatch):
    import keras

    from ml_model.training import pipeline

    def train(*args, **options):
        pipeline.train(data, pipeline.Settings(**TINY), work=tmp_path, root=tmp_path, verbose=0, say=lambda text: None)

    monkeypatch.setattr(keras.Model, "fit", train)  # again, while it is going on
    with pytest.raises(DataError, match=r"very same training is going on already, in .*Wait for it, or stop it"):
        train()


def test_a_training_without_any_loss_is_told(data, tmp_path, monkeypatch):
    import keras

    from ml_model.training import pipeline

    monkeypatch.setattr(keras.Model, "fit", lambda *args, **kwargs: None)  # as where each loss is NaN: nothing is best
    with pytest.raises(DataError, match=r"pretrained trunk learned nothing.*--learning-rate"):
        pipeline.train(data, pipeline.Settings(**TINY), work=tmp_path, root=tmp_path, verbose=0, say=lambda text: None)
