"""What is checked before training, and the figures that are read when it goes on."""

import pytest

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
