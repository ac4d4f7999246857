"""Teach a student, a network of half the cost, what a bundle answers and what the labels say.

Teacher and student see the same spoiled picture, ever another one, for longer than labels alone would bear
(function matching, Beyer et al. 2022). Chest X-rays of other hospitals take part without their labels: children are
shown with the greys of those, and of those the student learns how the teacher ranks them.
"""

import hashlib
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from ml_model import bundle, network
from ml_model.classifier import Classifier
from ml_model.dataset import PictureSet
from ml_model.evaluation import metrics
from ml_model.training import augmentation, fitting, imagenet
from ml_model.training.fitting import Fitted, Settings

SETTINGS = Settings(epochs=10, label_smoothing=0.0, dropout=0.2, frozen_blocks=4)
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
    teacher: Classifier,
    train: PictureSet,
    validation: PictureSet,
    settings: Settings,
    work: Path,
    *,
    elsewhere: np.ndarray | None = None,
    verbose: int = 1,
) -> Fitted:
    """A student of `teacher`, as of its last epoch: validation, which knows one hospital, cannot tell the best one.

    It starts from the pretrained trunk of the teacher, where that has one. elsewhere: chest X-rays of other hospitals,
    uint8 (n, size, size, 1). work: a folder for checkpoints, as of `fitting.fit`.
    """
    lesson_code = Path(__file__).read_bytes()
    others = b"" if elsewhere is None else elsewhere.tobytes()
    taught = hashlib.sha256(teacher.card.files[bundle.SERVING_FILE].encode() + lesson_code + others).hexdigest()[:12]
    work = work / fitting.fingerprint(train, validation, settings) / f"student-{taught}"
    work.mkdir(parents=True, exist_ok=True)
    fitting.keep_freed_memory()
    keras.utils.set_random_seed(settings.seed)
    model = network.student(settings.size)
    start_from(model, teacher)
    fitting.freeze(model, settings.frozen_blocks)
    validation = fitting.with_augmented_copy(validation, settings.seed)

    log, last = work / "epochs.csv", work / "last.weights.h5"
    done = fitting.read_history(log)
    trainer = network.with_dropout(model, settings.dropout)
    if len(done) < settings.epochs:
        lessons = Lessons(teacher, train, elsewhere, settings, epoch=len(done))
        fitting.compile_for(
            trainer, settings, learning_rate=settings.learning_rate, steps=len(lessons) * settings.epochs
        )
        trainer.fit(
            lessons,
            validation_data=(validation.pictures, validation.labels, fitting.balancing_weights(validation.labels)),
            epochs=settings.epochs,
            verbose=verbose,
            callbacks=[
                keras.callbacks.ModelCheckpoint(str(last), save_weights_only=True),
                keras.callbacks.CSVLogger(str(log), append=bool(done)),
                # The last: an epoch counts as finished once all that is kept of it was written.
                keras.callbacks.BackupAndRestore(str(work / "backup")),
            ],
        )
        done = fitting.read_history(log)
    trainer.load_weights(last)
    model.trainable = False
    # Of what is partly believed and not known, accuracy and AUROC mean nothing.
    history = [{key: value for key, value in row.items() if key not in ("accuracy", "auc")} for row in done]
    return Fitted(model, {"student": history}, {"student": len(history)}, validation)


class Lessons(keras.utils.PyDataset):
    """Batches of spoiled pictures with what to answer: float32 (batch, size, size, 1) of 0..255, (batch,), weights.

    Every second epoch spoils strongly. Drawn anew for each batch and epoch: order and greys the same in each run, the
    spoiling only in runs that are not interrupted.
    """

    def __init__(
        self, teacher: Classifier, train: PictureSet, elsewhere: np.ndarray | None, settings: Settings, epoch: int = 0
    ):
        super().__init__()
        self.teacher, self.epoch = teacher, epoch
        self.seed, self.batch_size = settings.seed, settings.batch_size
        others = train.pictures[:0] if elsewhere is None else elsewhere
        self.greys = augmentation.greys_of(others)
        self.known = len(train)
        self.pictures = np.concatenate([train.pictures, *[others] * ELSEWHERE])
        self.labels = train.labels
        self.weights = np.concatenate(
            [fitting.balancing_weights(train.labels), np.ones(ELSEWHERE * len(others), np.float32)]
        )
        # A teacher that calls nearly all of a hospital's pictures ill is wrong about the hospital, not about all of
        # them (distribution alignment, Berthelot et al. 2020).
        self.level = float(np.quantile(self.ask(others), 1 - ILL_ELSEWHERE)) if len(others) else 0.0
        self.augment = {
            strong: tf.function(augmentation.build(settings.seed + 1000, strong=strong), reduce_retracing=True)
            for strong in (True, False)
        }

    def __len__(self) -> int:
        return -(-len(self.pictures) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        order = np.random.Generator(np.random.PCG64((self.seed, self.epoch))).permutation(len(self.pictures))
        rows = order[index * self.batch_size : (index + 1) * self.batch_size]
        chance = np.random.Generator(np.random.PCG64((self.seed, self.epoch, index)))
        pictures, known = self.pictures[rows], rows < self.known
        for row in np.flatnonzero(known & (chance.random(len(rows)) < MATCHED) & bool(len(self.greys))):
            pictures[row] = augmentation.with_greys(pictures[row], chance.choice(self.greys), chance.random())
        augment = self.augment[self.epoch % 2 == 0]
        seen = np.clip(np.rint(augment(pictures.astype(np.float32), training=True)), 0, 255).astype(np.uint8)
        answers = metrics.sigmoid(self.ask(seen) - np.where(known, 0.0, self.level))
        answers[known] += LABELS * (self.labels[rows[known]] - answers[known])
        return seen.astype(np.float32), answers.astype(np.float32), self.weights[rows]

    def on_epoch_end(self) -> None:
        """Other lessons next."""
        self.epoch += 1

    def ask(self, pictures: np.ndarray) -> np.ndarray:
        """The teacher's logits of uint8 (n, size, size, 1): float64 (n,)."""
        probabilities = np.clip([self.teacher.run(picture).probability for picture in pictures], 1e-6, 1 - 1e-6)
        return np.log(probabilities / (1 - probabilities))


def start_from(model: keras.Model, teacher: Classifier) -> None:
    """Give `model` the teacher's weights of every layer that both have.

    A teacher that was trained elsewhere has none of them, and the weights are those of ImageNet.
    """
    if "train" not in teacher.card.data:
        imagenet.load_into(model)
        return
    trained = keras.saving.load_model(teacher.folder / bundle.KERAS_FILE, compile=False)
    names = {layer.name for layer in trained.layers} - {network.HEAD}
    for layer in model.layers:
        if layer.name in names:
            layer.set_weights(trained.get_layer(layer.name).get_weights())
