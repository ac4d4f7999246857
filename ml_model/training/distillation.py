"""Distillation: teach a student, a network of half the cost, what a bundle answers and what the labels say.

Teacher and student see the same augmented pictures, new ones in each epoch, for longer than training on labels alone
would allow (function matching, Beyer et al. 2022). Chest X-rays of other hospitals take part without labels: they lend
their grey values to training pictures, and the student learns how the teacher ranks them.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from ml_model import bundle, network
from ml_model.dataset import DataError, PictureSet
from ml_model.evaluation import metrics
from ml_model.training import augmentation, fitting, normalisation
from ml_model.training.fitting import Fitted, Settings

SETTINGS = Settings(epochs=10, dropout=0.2, frozen_blocks=4)
WITHOUT_A_SAY = {"label_smoothing", "pretrained", "small_epochs", "small_batch_size", "small_learning_rate"}
"""Settings that do nothing here: a student has no small trunk, starts from its teacher, and learns what that says."""
LABELS = 0.4
"""How much of what the student learns of a training picture is its label; the rest is the teacher's answer."""
ELSEWHERE = 3
"""How many times an epoch shows each picture of other hospitals."""
ILL_ELSEWHERE = 0.25
"""Share of them that counts as ill. About as many pictures of a large hospital's adults were reported with
infiltration, consolidation or pneumonia (112,120 pictures, Wang et al. 2017)."""
MATCHED = 0.4
"""Share of the training pictures that are shown with the greys of another hospital."""


def distil(
    teacher: Path,
    train: PictureSet,
    validation: PictureSet,
    settings: Settings,
    work: Path,
    *,
    elsewhere: np.ndarray | None = None,
    verbose: int = 1,
) -> Fitted:
    """A student of the bundle in `teacher`, as of its last epoch: validation, from one hospital, cannot tell which is
    best.

    It starts from the pretrained trunk of the teacher, which `train_model` made. elsewhere: chest X-rays of other
    hospitals, uint8 (n, size, size, 1). work: a folder for checkpoints, as of `fitting.fit`. Raises DataError where
    the loss of the last epoch is no number.
    """
    elsewhere = train.pictures[:0] if elsewhere is None else elsewhere
    lesson_code = Path(__file__).read_bytes()
    teaches = bundle.read(teacher, verify=(bundle.KERAS_FILE,)).files[bundle.KERAS_FILE].encode()
    taught = hashlib.sha256(teaches + lesson_code + elsewhere.tobytes()).hexdigest()[:12]
    work = work / fitting.fingerprint(train, validation, settings) / f"student-{taught}"
    with fitting.alone_in(work):
        fitting.keep_freed_memory()
        keras.utils.set_random_seed(settings.seed)
        trained = normalisation.fused(keras.saving.load_model(teacher / bundle.KERAS_FILE, compile=False))
        model = normalisation.fused(network.student(settings.size))
        start_from(model, trained)
        fitting.freeze(model, settings.frozen_blocks)
        asked = keras.Model(trained.input, trained.get_layer(network.HEAD).output, name="teacher")
        asked.trainable = False

        log, last, backup = work / "epochs.csv", work / "last.weights.h5", work / fitting.BACKUP
        done = fitting.read_history(log)
        if len(done) < settings.epochs:
            lessons = Lessons(train, elsewhere, settings)
            trainer = beside(asked, network.with_dropout(model, settings.dropout), settings)
            trainer.compile(
                optimizer=fitting.optimizer(settings, settings.learning_rate, len(lessons) * settings.epochs),
                loss=what_to_answer(level_of(asked, elsewhere)),
                jit_compile=fitting.compiled_whole(),
            )
            lessons.epoch = fitting.take_up(trainer, backup, len(lessons))
            known = np.stack([validation.labels, np.ones(len(validation), np.float32)], axis=1)
            trainer.fit(
                lessons,
                validation_data=(validation.pictures, known, metrics.even_weights(validation.labels)),
                initial_epoch=lessons.epoch,
                epochs=settings.epochs,
                verbose=verbose,
                callbacks=[
                    keras.callbacks.TerminateOnNaN(),
                    fitting.KeepLast(model, last),
                    keras.callbacks.CSVLogger(str(log), append=bool(done)),
                    # The last one: an epoch counts as finished once everything else of it is written.
                    fitting.KeepLast(trainer, backup),
                ],
            )
            backup.unlink(missing_ok=True)
            done = fitting.read_history(log)
        if not math.isfinite(done[-1]["val_loss"]):
            raise DataError("The student learned nothing: its loss is no number. Choose a lower --learning-rate.")
        model.load_weights(last)
        model = normalisation.plain(model)
        model.trainable = False
        had_a_say = {name: value for name, value in asdict(settings).items() if name not in WITHOUT_A_SAY}
        return Fitted(
            model,
            {"student": done},
            {"student": len(done)},
            {"architecture": network.ONE_TRUNK, **had_a_say},
            fitting.with_augmented_copy(validation, settings.seed),
        )


class Lessons(keras.utils.PyDataset):
    """Batches to augment: uint8 (batch, size, size, 1); whether ill and whether that is known, (batch, 2); and weights.

    Full batches, in another order each epoch; some training pictures with the greys of other hospitals. Deterministic.
    """

    def __init__(self, train: PictureSet, elsewhere: np.ndarray, settings: Settings, epoch: int = 0):
        super().__init__()
        self.epoch, self.seed = epoch, settings.seed
        self.greys = augmentation.greys_of(elsewhere)
        self.pictures = np.concatenate([train.pictures, *[elsewhere] * ELSEWHERE])
        others = len(self.pictures) - len(train)
        self.answers = np.stack(
            [np.append(train.labels, np.zeros(others)), np.append(np.ones(len(train)), np.zeros(others))], axis=1
        ).astype(np.float32)
        self.weights = np.append(metrics.even_weights(train.labels), np.ones(others)).astype(np.float32)
        self.batch_size = min(settings.batch_size, len(self.pictures))

    def __len__(self) -> int:
        return len(self.pictures) // self.batch_size

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        order = np.random.Generator(np.random.PCG64((self.seed, self.epoch))).permutation(len(self.pictures))
        rows = order[index * self.batch_size : (index + 1) * self.batch_size]
        chance = np.random.Generator(np.random.PCG64((self.seed, self.epoch, index)))
        pictures, known = self.pictures[rows], self.answers[rows, 1] == 1
        for row in np.flatnonzero(known & (chance.random(len(rows)) < MATCHED) & bool(len(self.greys))):
            pictures[row] = augmentation.with_greys(pictures[row], chance.choice(self.greys), chance.random())
        return pictures, self.answers[rows], self.weights[rows]

    def on_epoch_end(self) -> None:
        """Move to the next epoch's lessons."""
        self.epoch += 1


def beside(teacher: keras.Model, student: keras.Model, settings: Settings) -> keras.Model:
    """Both on the same augmented picture: (batch, 2), the student's probability and the teacher's logit. Half of each
    batch is augmented strongly.
    """
    picture = keras.Input(student.input.shape[1:], name="picture")
    strong = augmentation.build(settings.seed, strong=True)
    mild = augmentation.build(settings.seed + 1000, strong=False)
    seen = augmentation.Halves(strong, mild, name="spoil")(picture)
    return keras.Model(picture, layers.Concatenate(name="answers")([student(seen), teacher(seen)]))


def level_of(teacher: keras.Model, elsewhere: np.ndarray) -> float:
    """The teacher's logit that the share ILL_ELSEWHERE of other hospitals' pictures lies above.

    A teacher that calls nearly all of a hospital's pictures ill is wrong about the hospital, not about all of
    them (distribution alignment, Berthelot et al. 2020).
    """
    if not len(elsewhere):
        return 0.0
    return float(np.quantile(teacher.predict(elsewhere, batch_size=64, verbose=0), 1 - ILL_ELSEWHERE))


def what_to_answer(level: float) -> Callable:
    """The loss between answers of `Lessons` and outputs of `beside`: cross-entropy with the student's target.

    The target is the teacher's probability (for other hospitals with `level` subtracted from its logit), mixed with the
    label, where known, by the share LABELS.
    """

    def loss(answers, outputs):
        ill, known = answers[:, 0], answers[:, 1]
        said = ops.clip(outputs[:, 0], 1e-7, 1 - 1e-7)
        right = ops.sigmoid(outputs[:, 1] - level * (1 - known))
        right = ops.stop_gradient(right + LABELS * known * (ill - right))
        return -(right * ops.log(said) + (1 - right) * ops.log(1 - said))

    return loss


def start_from(model: keras.Model, trained: keras.Model) -> None:
    """Give `model` the weights of `trained` in every layer that both have, but for the head."""
    names = {layer.name for layer in trained.layers} - {network.HEAD}
    for layer in model.layers:
        if layer.name in names:
            layer.set_weights(trained.get_layer(layer.name).get_weights())
