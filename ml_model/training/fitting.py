"""Fit the network, from pictures to the weights of the best epoch. It can be interrupted and resumed."""

import csv
import ctypes
import errno
import fcntl
import hashlib
import io
import json
import math
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ml_model import network
from ml_model.dataset import DataError, PictureSet
from ml_model.evaluation import metrics
from ml_model.training import augmentation, imagenet, normalisation


@dataclass(frozen=True)
class Settings:
    """Everything that decides how a network comes out, apart from the pictures."""

    size: int = 160
    epochs: int = 7
    batch_size: int = 32
    learning_rate: float = 3e-4
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    dropout: float = 0.3
    frozen_blocks: int = 5
    """Stem and first blocks stay as ImageNet left them: edges are edges, and an epoch takes a third of the time."""
    small_epochs: int = 16
    small_batch_size: int = 64
    small_learning_rate: float = 3e-3
    """Of the small trunk, which starts from random weights; the settings without `small` are of the other."""
    validation_share: float = 0.15
    seed: int = 20261123
    pretrained: bool = True

    def __post_init__(self) -> None:
        """Raises ValueError, which names the option of train_model, for what would fail in training or after it."""
        if self.size < 32 or self.size % 32:
            raise ValueError(f"--size must be a multiple of 32, such as 160, and is {self.size}.")
        for name in ("epochs", "batch_size", "small_epochs", "small_batch_size"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be at least 1, and is {value}.")
        for name in ("learning_rate", "small_learning_rate"):
            if not 0 < (value := getattr(self, name)) < math.inf:
                raise ValueError(f"--{name.replace('_', '-')} must be greater than 0, and is {value}.")
        if not 0 < self.validation_share < 1:
            raise ValueError(f"--validation-share must lie between 0 and 1, and is {self.validation_share}.")
        most = len(network.BLOCKS)
        if not 0 <= self.frozen_blocks <= most:
            raise ValueError(f"--frozen-blocks must lie between 0 and {most}, and is {self.frozen_blocks}.")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"--seed must lie between 0 and {2**31 - 1}, and is {self.seed}.")


@dataclass(frozen=True)
class Fitted:
    """What `fit` returns.

    model: each trunk at its best epoch, and the mean of both. history: of each trunk, one mapping
    of figures per epoch. best_epochs: counted from 1. recipe: `architecture`, a phrase, and the settings
    that had a say. validation: the pictures the best epochs were chosen on, first as they are, then the
    same ones augmented once.
    """

    model: keras.Model
    history: dict[str, list[dict[str, float]]]
    best_epochs: dict[str, int]
    recipe: dict[str, Any]
    validation: PictureSet


def fit(train: PictureSet, validation: PictureSet, settings: Settings, work: Path, *, verbose: int = 1) -> Fitted:
    """Fit each trunk on `train`, keep the epoch that does best on `validation` and on an augmented copy of it.

    work: a folder for checkpoints. Called again with the same folder, settings and pictures, it resumes after the last
    finished epoch. Raises DataError if no epoch had a finite loss.
    """
    work = work / fingerprint(train, validation, settings)
    with alone_in(work):
        keep_freed_memory()
        keras.utils.set_random_seed(settings.seed)
        model = network.build(settings.size)
        if settings.pretrained:
            imagenet.load_into(model)
        model = normalisation.fused(model)
        freeze(model, settings.frozen_blocks)
        validation = with_augmented_copy(validation, settings.seed)

        members, history = {}, {}
        for trunk, schedule in (
            ("pretrained", _Schedule(settings.epochs, settings.batch_size, settings.learning_rate)),
            ("small", _Schedule(settings.small_epochs, settings.small_batch_size, settings.small_learning_rate)),
        ):
            members[trunk] = network.member(model, trunk, settings.dropout)
            history[trunk] = _fit_member(members[trunk], train, validation, settings, schedule, work / trunk, verbose)
        _join(model, members, validation)
        model = normalisation.plain(model)
        model.trainable = False
        best = {trunk: min(range(len(rows)), key=lambda i: rows[i]["val_loss"]) + 1 for trunk, rows in history.items()}
        recipe = {"architecture": network.TWO_TRUNKS, **asdict(settings)}
        return Fitted(model, history, best, recipe, validation)


@dataclass(frozen=True)
class _Schedule:
    epochs: int
    batch_size: int
    learning_rate: float


def _fit_member(
    member: keras.Model,
    train: PictureSet,
    validation: PictureSet,
    settings: Settings,
    schedule: _Schedule,
    work: Path,
    verbose: int,
) -> list[dict[str, float]]:
    """Leave `member` with the weights of its best epoch; returns the figures of every epoch."""
    work.mkdir(parents=True, exist_ok=True)
    log, best, backup = work / "epochs.csv", work / "best.weights.h5", work / BACKUP
    done = read_history(log)
    if len(done) < schedule.epochs:
        steps = -(-len(train) // schedule.batch_size)
        compile_for(member, settings, learning_rate=schedule.learning_rate, steps=steps * schedule.epochs)
        start = take_up(member, backup, steps)
        if start:  # otherwise the batches of the first epochs would be repeated, augmented as they were then
            keras.utils.set_random_seed(settings.seed + start)
        augment = augmentation.build(settings.seed + 100 * start, strong=member.name == "small")
        member.fit(
            augmented_batches(train, augment, schedule.batch_size),
            shuffle=False,  # the batches are already
            validation_data=(validation.pictures, validation.labels, metrics.even_weights(validation.labels)),
            initial_epoch=start,
            epochs=schedule.epochs,
            verbose=verbose,
            callbacks=[
                keras.callbacks.TerminateOnNaN(),
                _KeepBest(member, best, min((row["val_loss"] for row in done), default=float("inf"))),
                keras.callbacks.CSVLogger(str(log), append=bool(done)),
                # The last one: an epoch counts as finished once everything else of it is written.
                KeepLast(member, backup),
            ],
        )
        backup.unlink(missing_ok=True)
        done = read_history(log)
    if not best.exists():
        advice = " Choose a lower --learning-rate." if member.name == "pretrained" else ""  # not the small one's
        raise DataError(
            f"The {member.name} trunk learned nothing, since its loss on validation was never a number.{advice}"
        )
    member.load_weights(best)
    return [row for row in done if math.isfinite(row["val_loss"])]  # the last may have ended in no number


def augmented_batches(train: PictureSet, augment: keras.Sequential, batch_size: int):
    """`train` as a tf.data.Dataset of one epoch: pictures as float32 (batch, size, size, 1) of 0..255, labels, weights.

    Shuffled and augmented anew in each epoch, on another core than the one that trains. Needs TensorFlow.
    """
    import tensorflow as tf

    def prepare(pictures, labels, weights):
        return augment(tf.cast(pictures, tf.float32), training=True), labels, weights

    weights = metrics.even_weights(train.labels).astype(np.float32)
    rows = tf.data.Dataset.from_tensor_slices((train.pictures, train.labels, weights))
    options = tf.data.Options()
    options.autotune.enabled = False  # nothing here is to be tuned, and ending an epoch waits for the tuning thread
    return rows.shuffle(len(train)).batch(batch_size).map(prepare).prefetch(4).with_options(options)


def compile_for(model: keras.Model, settings: Settings, *, learning_rate: float, steps: int) -> None:
    """Make `model` ready for `fit` on labels. learning_rate, steps: as of `optimizer`."""
    model.compile(
        optimizer=optimizer(settings, learning_rate, steps),
        loss=keras.losses.BinaryCrossentropy(label_smoothing=settings.label_smoothing),
        weighted_metrics=[keras.metrics.AUC(name="auc"), keras.metrics.BinaryAccuracy(name="accuracy")],
        jit_compile=compiled_whole(),
    )


def optimizer(settings: Settings, learning_rate: float, steps: int) -> keras.optimizers.Optimizer:
    """AdamW. The rate rises to `learning_rate` during the first twentieth of `steps` and then falls as a cosine."""
    return keras.optimizers.AdamW(
        keras.optimizers.schedules.CosineDecay(
            learning_rate / 10, steps - steps // 20, warmup_target=learning_rate, warmup_steps=steps // 20
        ),
        weight_decay=settings.weight_decay,
    )


def compiled_whole() -> bool:
    """Whether XLA compiles a training step: JAX needs it, TensorFlow on a CPU is slower with it."""
    return keras.backend.backend() == "jax"


def _join(model: keras.Model, members: dict[str, keras.Model], validation: PictureSet) -> None:
    """Set the head of `model` to the mean of its members' logits, each calibrated by its temperature first."""
    kernels, biases = [], []
    for member in members.values():
        headless = keras.Model(member.input, member.get_layer(network.HEAD).output)
        logits = headless.predict(validation.pictures, batch_size=64, verbose=0)[:, 0].astype(np.float64)
        temperature = metrics.best_temperature(logits, validation.labels, metrics.even_weights(validation.labels))
        kernel, bias = member.get_layer(network.HEAD).get_weights()
        kernels.append(kernel / (temperature * len(members)))
        biases.append(bias / (temperature * len(members)))
    model.get_layer(network.HEAD).set_weights([np.concatenate(kernels), np.sum(biases, axis=0)])


@contextmanager
def alone_in(work: Path) -> Iterator[None]:
    """Create the folder of a training and lock it against the same one elsewhere. Raises DataError if that holds it."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"The very same training is going on already, in {work}. Wait for it, or stop it."
            ) from None
        yield


BACKUP = Path("backup", "latest.weights.h5")
"""Under the folder of a training: its model after the last finished epoch, and its optimizer."""


def take_up(model: keras.Model, backup: Path, steps: int) -> int:
    """Restore `model`, compiled, from the `backup` of `KeepLast`; returns finished epochs of `steps`, 0 without one.

    Raises DataError where that is damaged.
    """
    if not backup.exists():
        return 0
    model.optimizer.build(model.trainable_variables)
    try:
        model.load_weights(backup)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"The checkpoint {backup} is damaged. Delete it, and this part of the training begins anew."
        ) from error
    return int(model.optimizer.iterations) // steps


def need_room(folder: Path, variables: Sequence[keras.Variable], copies: int = 1) -> None:
    """Raises OSError where the disk of `folder` has no room for so many copies of `variables`.

    If the disk fills while HDF5 writes, the whole process ends (segmentation fault in h5py 3).
    """
    needed = copies * sum(4 * math.prod(variable.shape) for variable in variables) + (1 << 20)
    if shutil.disk_usage(folder).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


class KeepLast(keras.callbacks.Callback):
    """Saves the weights of `kept`, the model in training or a part of it, after each epoch.

    A file cut off by an interruption leaves the previous one intact; Keras' BackupAndRestore overwrites it.
    """

    def __init__(self, kept: keras.Model, path: Path):
        super().__init__()
        self.kept, self.path = kept, path

    def on_epoch_end(self, epoch, logs=None):
        self.path.parent.mkdir(exist_ok=True)
        optimizer = getattr(self.kept, "optimizer", None)  # only where the model is compiled
        need_room(self.path.parent, [*self.kept.variables, *(optimizer.variables if optimizer else [])])
        draft = self.path.with_name(f"new.{self.path.name}")
        self.kept.save_weights(draft)
        draft.replace(self.path)


class _KeepBest(KeepLast):
    """The same, but only after an epoch whose validation loss is better than `best` and all before."""

    def __init__(self, kept: keras.Model, path: Path, best: float):
        super().__init__(kept, path)
        self.best = best

    def on_epoch_end(self, epoch, logs=None):
        if logs["val_loss"] < self.best:
            self.best = logs["val_loss"]
            super().on_epoch_end(epoch, logs)


def fingerprint(train: PictureSet, validation: PictureSet, settings: Settings) -> str:
    """A digest of everything that decides a training: settings, pictures, and the code of network and training."""
    digest = hashlib.sha256(json.dumps(asdict(settings), sort_keys=True).encode())
    modules = (augmentation, imagenet, metrics, network, normalisation)
    for code in (__file__, *(str(module.__file__) for module in modules)):
        digest.update(Path(code).read_bytes())
    for part in (train, validation):
        digest.update(part.pictures.tobytes())
        digest.update(part.labels.tobytes())
    return digest.hexdigest()[:12]


def read_history(log: Path) -> list[dict[str, float]]:
    """The finished epochs in `log`, a CSV; empty if there is none.

    A last row that a full disk cut off is removed from the file, so that the next one starts on a line of its own. An
    epoch that was interrupted between its row and its backup is there twice; the later one counts.
    """
    if not log.exists():
        return []
    data = log.read_bytes()
    if (whole := data.rfind(b"\n") + 1) < len(data):
        os.truncate(log, whole)
    rows = csv.DictReader(io.StringIO(data[:whole].decode(), newline=""))
    epochs = [{key: float(value) for key, value in row.items()} for row in rows]
    return list({row["epoch"]: row for row in epochs}.values())


def augmented(pictures: np.ndarray, seed: int) -> np.ndarray:
    """uint8 (n, size, size, 1) as training might show them, once."""
    layer = augmentation.build(seed, strong=True)
    parts = [
        np.asarray(layer(pictures[start : start + 64].astype(np.float32), training=True))
        for start in range(0, len(pictures), 64)
    ]
    return np.clip(np.rint(np.concatenate(parts)), 0, 255).astype(np.uint8)


def with_augmented_copy(pictures: PictureSet, seed: int) -> PictureSet:
    """`pictures`, then each of them once more as training might show it.

    On clean validation pictures nearly every network is nearly perfect; only with the copies do epoch, temperature and
    threshold mean something.
    """
    return PictureSet(
        np.concatenate([pictures.pictures, augmented(pictures.pictures, seed + 1000)]),
        np.concatenate([pictures.labels, pictures.labels]),
        np.concatenate([pictures.patients, pictures.patients]),
        pictures.files * 2,
    )


def freeze(model: keras.Model, blocks: int) -> None:
    """Freeze the stem and the first `blocks` of the pretrained trunk."""
    names = ("stem", *(f"block{index}_" for index in range(blocks)))
    for layer in model.layers:
        if blocks and layer.name.startswith(names):
            layer.trainable = False


def keep_freed_memory() -> None:
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
