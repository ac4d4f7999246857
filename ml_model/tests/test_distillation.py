"""What a student is to answer. Whole trainings of one are in test_training."""

import numpy as np
import pytest

from ml_model.tests.test_training import TINY

pytestmark = pytest.mark.training


def test_a_student_is_to_say_what_its_teacher_believes_and_in_part_what_is_known():
    from ml_model.training import distillation

    said = np.linspace(0.01, 0.99, 99, dtype=np.float32)
    loss = distillation.what_to_answer(level=1.5)
    cases = {(1.0, 1.0): 0.6 * 0.5 + 0.4, (0.0, 1.0): 0.6 * 0.5, (0.0, 0.0): 1 / (1 + np.exp(1.5))}
    for answer, right in cases.items():
        outputs = np.stack([said, np.zeros_like(said)], axis=1)
        losses = np.asarray(loss(np.tile(np.float32(answer), (99, 1)), outputs))
        assert said[losses.argmin()] == pytest.approx(right, abs=0.01)


def test_lessons_need_no_other_hospital(data):
    from ml_model import dataset
    from ml_model.training import distillation, fitting

    pictures = dataset.load(data / "train", 64)
    lessons = distillation.Lessons(pictures, pictures.pictures[:0], fitting.Settings(**TINY))
    assert len(lessons) == len(pictures) // 8
    shown, answers, weights = lessons[0]
    assert (shown.shape, answers.shape, weights.shape) == ((8, 64, 64, 1), (8, 2), (8,))
    assert np.all(answers[:, 1] == 1)
