"""Fit the network: from pictures to the weights of the best epoch. Can be interrupted and taken up again."""

import csv
import ctypes
import hashlib
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np

from ml_model import network
from ml_model.dataset import PictureSet
from ml_model.training import augmentation, imagenet


@dataclass(frozen=True)
class Settings:
    """Everything that decides how a network comes out, apart from the pictures."""

    size: int = 160
    epochs: int = 8
    batch_size: int = 32
    learning_rate: float = 3e-4
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    dropout: float = 0.3
    frozen_blocks: int = 5
    """Stem and first blocks stay as ImageNet left them: edges are edges, and an epoch takes a third of the time."""
    validation_share: float = 0.15
    seed: int = 20261123
    pretrained: bool = True


@dataclass(frozen=True)
class Fitted:
    """What `fit` returns.

    model: best epoch. history: one mapping of figures per epoch. validation: the pictures the
    best epoch was chosen on, first as they are, then the same ones augmented once.
    """

    model: keras.Model
    history: list[dict[str, float]]
    best_epoch: int
    validation: PictureSet


def fit(train: PictureSet, validation: PictureSet, settings: Settings, work: Path, *, verbose: int = 1) -> Fitted:
    """Fit on `train`, keep the epoch that does best on `validation` and on an augmented copy of it.

    work: a folder for checkpoints. Called again with the same folder, settings and
    pictures, it goes on after the last finished epoch.
    """
    work = work / fingerprint(train, validation, settings)
    work.mkdir(parents=True, exist_ok=True)
    log, best, backup = work / "epochs.csv", work / "best.weights.h5", work / "backup"
    _keep_freed_memory()
    keras.utils.set_random_seed(settings.seed)

    model = network.build(settings.size, settings.dropout)
    if settings.pretrained:
        imagenet.load_into(model)
    _freeze(model, settings.frozen_blocks)
    validation = with_augmented_copy(validation, settings.seed)

    done = read_history(log)
    if len(done) < settings.epochs:
        pictures = keras.Input((settings.size, settings.size, 1))
        trainer = keras.Model(pictures, model(augmentation.build(settings.seed)(pictures)))
        steps = -(-len(train) // settings.batch_size) * settings.epochs
        trainer.compile(
            optimizer=keras.optimizers.AdamW(
                keras.optimizers.schedules.CosineDecay(
                    settings.learning_rate / 10,
                    steps - steps // 20,
                    warmup_target=settings.learning_rate,
                    warmup_steps=steps // 20,
                ),
                weight_decay=settings.weight_decay,
            ),
            loss=keras.losses.BinaryCrossentropy(label_smoothing=settings.label_smoothing),
            weighted_metrics=[keras.metrics.AUC(name="auc"), keras.metrics.BinaryAccuracy(name="accuracy")],
            jit_compile=False,
        )
        trainer.fit(
            train.pictures,
            train.labels,
            sample_weight=balancing_weights(train.labels),
            validation_data=(validation.pictures, validation.labels, balancing_weights(validation.labels)),
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            verbose=verbose,
            callbacks=[
                keras.callbacks.BackupAndRestore(str(backup)),
                _KeepBest(model, best, min((row["val_loss"] for row in done), default=float("inf"))),
                keras.callbacks.CSVLogger(str(log), append=bool(done)),
            ],
        )
        done = read_history(log)
    model.load_weights(best)
    model.trainable = False
    best_epoch = min(range(len(done)), key=lambda i: done[i]["val_loss"]) + 1
    return Fitted(model, done, best_epoch, validation)


class _KeepBest(keras.callbacks.Callback):
    """Saves the weights of `model`, without the augmentation around it, whenever the validation loss improves."""

    def __init__(self, model: keras.Model, path: Path, best: float):
        super().__init__()
        self.inner, self.path, self.best = model, path, best

    def on_epoch_end(self, epoch, logs=None):
        if logs["val_loss"] < self.best:
            self.best = logs["val_loss"]
            self.inner.save_weights(self.path)


def fingerprint(train: PictureSet, validation: PictureSet, settings: Settings) -> str:
    """A short name for one way of training on one set of pictures."""
    digest = hashlib.sha256(json.dumps(asdict(settings), sort_keys=True).encode())
    for part in (train, validation):
        digest.update(part.pictures.tobytes())
        digest.update(part.labels.tobytes())
    return digest.hexdigest()[:12]


def read_history(log: Path) -> list[dict[str, float]]:
    """The finished epochs that `log`, a CSV, tells of; empty where there is none."""
    if not log.exists():
        return []
    with log.open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def balancing_weights(labels: np.ndarray) -> np.ndarray:
    """A weight per row so that both classes count the same, with mean 1: float32 (n,)."""
    share = float(labels.mean())
    return np.where(labels == 1, 0.5 / share, 0.5 / (1 - share)).astype(np.float32)


def with_augmented_copy(pictures: PictureSet, seed: int) -> PictureSet:
    """`pictures`, then each of them once more as training might show it.

    On clean validation pictures nearly every network is nearly perfect; the copies
    make the choice of epoch, temperature and threshold say something.
    """
    layer = augmentation.build(seed + 1000)
    augmented = [
        np.asarray(layer(pictures.pictures[start : start + 64].astype(np.float32), training=True))
        for start in range(0, len(pictures), 64)
    ]
    copies = np.clip(np.rint(np.concatenate(augmented)), 0, 255).astype(np.uint8)
    return PictureSet(
        np.concatenate([pictures.pictures, copies]),
        np.concatenate([pictures.labels, pictures.labels]),
        np.concatenate([pictures.patients, pictures.patients]),
        pictures.files * 2,
    )


def _freeze(model: keras.Model, blocks: int) -> None:
    names = ("stem", *(f"block{index}_" for index in range(blocks)))
    for layer in model.layers:
        if blocks and layer.name.startswith(names):
            layer.trainable = False


def _keep_freed_memory() -> None:
    """Ask glibc to keep large freed blocks instead of handing each back to the kernel.

    Activations are allocated and freed at every step; the page faults cost a third of
    the time on a virtual machine (81 to 52 ms a picture with nothing frozen).
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        m_trim_threshold, m_top_pad, m_mmap_max = -1, -2, -4
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, 2**31 - 1)
        libc.mallopt(m_top_pad, 512 * 2**20)
