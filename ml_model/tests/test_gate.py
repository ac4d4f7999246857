"""Who fits the gate and who measures it. How it is fitted is in test_training."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.training


def test_all_pictures_of_a_patient_fit_the_gate_or_none():
    from ml_model.training import gate

    files = [Path(f"NORMAL_{patient:08}_{picture:03}.jpg") for patient in range(50) for picture in range(3)]
    drawn = gate._drawn_for_fitting(files).reshape(50, 3)
    assert set(drawn.sum(axis=1)) == {0, 3}
