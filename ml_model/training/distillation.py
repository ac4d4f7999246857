"""Teach a student, a network of half the cost, what a bundle answers, where it looks and what the labels say.

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
from ml_model.training import augmentation, fitting
from ml_model.training.fitting import Fitted, Settings

SETTINGS = Settings(epochs=12, label_smoothing=0.0, dropout=0.2, frozen_blocks=4)
LABELS = 0.4
"""How much of what the student learns of a training picture is its label; the rest is the teacher's answer."""
ELSEWHERE = 3
"""How many times an epoch shows each picture of other hospitals."""
ILL_ELSEWHERE = 0.25
"""Share of them that counts as ill. About as many pictures of a large hospital's adults were reported with
infiltration, consolidation or pneumonia (112,120 pictures, Wang et al. 2017)."""
PLACES = 0.2
"""What an activation map unlike the teacher's costs (one less the cosine between them), against a wrong answer.
Without, a student is as good, and looks nearly at the same places in every picture (attention transfer, Zagoruyko &
Komodakis 2017)."""
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

    It starts from the pretrained trunk of the teacher, where that has one. elsewhere: chest X-rays of other
    hospitals, uint8 (n, size, size, 1). work: a folder for checkpoints, as of `fitting.fit`.
    """
    lesson_code = Path(__file__).read_bytes()
    others = b"" if elsewhere is None else elsewhere.tobytes()
    taught = hashlib.sha256(teacher.card.files[bundle.SERVING_FILE].encode() + lesson_code + others).hexdigest()[:12]
    work = work / fitting.fingerprint(train, validation, settings) / f"student-{taught}"
    work.mkdir(parents=True, exist_ok=True)
    fitting.keep_freed_memory()
    keras.utils.set_random_seed(settings.seed)
    model = network.student(settings.size)
    _start_from(model, keras.saving.load_model(teacher.folder / bundle.KERAS_FILE, compile=False))
    fitting.freeze(model, settings.frozen_blocks)
    validation = fitting.with_augmented_copy(validation, settings.seed)

    log, last = work / "epochs.csv", work / "last.weights.h5"
    done = fitting.read_history(log)
    trainer = network.learner(model, settings.dropout)
    if len(done) < settings.epochs:
        side = model.get_layer(network.FINE).output.shape[1]
        lessons = Lessons(teacher, train, elsewhere, settings, side=side, epoch=len(done))
        fitting.compile_for(
            trainer,
            settings,
            learning_rate=settings.learning_rate,
            steps=len(lessons) * settings.epochs,
            loss=[keras.losses.BinaryCrossentropy(), keras.losses.CosineSimilarity()],
            loss_weights=[1.0, PLACES],
            weighted_metrics=None,  # of what is partly believed and not known, accuracy and AUROC mean nothing
        )
        weights = fitting.balancing_weights(validation.labels)
        nowhere = np.zeros((len(validation), trainer.outputs[1].shape[1]), np.float32)
        trainer.fit(
            lessons,
            validation_data=(
                validation.pictures,
                (validation.labels, nowhere),
                (weights, np.zeros_like(weights)),
            ),
            epochs=settings.epochs,
            verbose=verbose,
            callbacks=[
                keras.callbacks.BackupAndRestore(str(work / "backup")),
                keras.callbacks.ModelCheckpoint(str(last), save_weights_only=True),
                keras.callbacks.CSVLogger(str(log), append=bool(done)),
            ],
        )
        done = fitting.read_history(log)
    trainer.load_weights(last)
    model.trainable = False
    history = [
        {"epoch": row["epoch"], "loss": row["probability_loss"], "val_loss": row["val_probability_loss"]}
        for row in done
    ]
    return Fitted(model, {"student": history}, {"student": len(history)}, validation)


class Lessons(keras.utils.PyDataset):
    """Batches of spoiled pictures with what to answer, and where to look: what a `network.learner` is trained by.

    Pictures float32 (batch, size, size, 1) of 0..255; answers (batch,) and places (batch, side * side); weights of
    both, (batch,). Every second epoch spoils strongly. Drawn anew for each batch and epoch, the same in each run.
    """

    def __init__(
        self,
        teacher: Classifier,
        train: PictureSet,
        elsewhere: np.ndarray | None,
        settings: Settings,
        *,
        side: int,
        epoch: int = 0,
    ):
        super().__init__(workers=1, max_queue_size=8)
        self.teacher, self.side, self.epoch = teacher, side, epoch
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
        self.level = float(np.quantile(self.ask(others)[0], 1 - ILL_ELSEWHERE)) if len(others) else 0.0
        self.augment = {
            strong: tf.function(augmentation.build(settings.seed + 1000, strong=strong), reduce_retracing=True)
            for strong in (True, False)
        }

    def __len__(self) -> int:
        return -(-len(self.pictures) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
        order = np.random.Generator(np.random.PCG64((self.seed, self.epoch))).permutation(len(self.pictures))
        rows = order[index * self.batch_size : (index + 1) * self.batch_size]
        chance = np.random.Generator(np.random.PCG64((self.seed, self.epoch, index)))
        pictures, known = self.pictures[rows], rows < self.known
        for row in np.flatnonzero(known & (chance.random(len(rows)) < MATCHED) & bool(len(self.greys))):
            pictures[row] = augmentation.with_greys(pictures[row], chance.choice(self.greys), chance.random())
        augment = self.augment[self.epoch % 2 == 0]
        seen = np.clip(np.rint(augment(pictures.astype(np.float32), training=True)), 0, 255).astype(np.uint8)
        logits, places = self.ask(seen)
        answers = metrics.sigmoid(logits - np.where(known, 0.0, self.level))
        answers[known] += LABELS * (self.labels[rows[known]] - answers[known])
        # Where a picture is not ill, or the teacher is wrong about the hospital, its map says nothing.
        ill = known & (answers > 0.5)
        weights = self.weights[rows]
        return (
            seen.astype(np.float32),
            (answers.astype(np.float32), places),
            (weights, weights * ill.astype(np.float32)),
        )

    def on_epoch_end(self) -> None:
        """Other lessons next."""
        self.epoch += 1

    def ask(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The teacher's logits of uint8 (n, size, size, 1), float64 (n,), and maps, float32 (n, side * side)."""
        outputs = [self.teacher.run(picture) for picture in pictures]
        probabilities = np.clip([output.probability for output in outputs], 1e-6, 1 - 1e-6)
        maps = np.stack([output.activation_map for output in outputs])[..., np.newaxis]
        places = tf.image.resize(maps, (self.side, self.side), antialias=True).numpy()
        return np.log(probabilities / (1 - probabilities)), places.reshape(len(pictures), -1)


def _start_from(model: keras.Model, teacher: keras.Model) -> None:
    """Give `model` the weights of every layer of its trunk that `teacher` has too."""
    names = {layer.name for layer in teacher.layers} - {network.HEAD}
    for layer in model.layers:
        if layer.name in names:
            layer.set_weights(teacher.get_layer(layer.name).get_weights())
