"""An epoch of this pipeline beside the same network fed by Keras' ImageDataGenerator: `make bench-train`.

`python benchmarks/training.py DATA_DIR` takes as many pictures of each class from DATA_DIR/train, by default from
$XRAY_DATA/chest_xray/train, and without that draws phantoms. Every way of feeding runs in a process of its own, in
rounds. The figures are medians over the rounds of the mean of two epochs, after one in which TensorFlow builds its
graph.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess  # nosec B404
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import repository

from ml_model import dataset, phantom

WAYS = {
    "generator": "ImageDataGenerator from the folder, every layer trained, Keras' own normalisation",
    "same": "this pipeline, augmentation as strong as the generator's",
    "pipeline": "this pipeline as it is, with all of its augmentation",
}
EPOCHS = {"pretrained": "epochs", "small": "small_epochs"}
"""Where the settings say how many epochs each trunk is trained for."""


def lay_out(folder: Path, data_dir: Path | None, each: int) -> None:
    """Put `each` pictures of each class into `folder`, as links or as phantoms."""
    for label, name in enumerate(dataset.CLASSES):
        (folder / name).mkdir(parents=True)
        found = sorted((data_dir / "train" / name).iterdir())[:each] if data_dir else []
        for path in found:
            (folder / name / path.name).symlink_to(path.resolve())
        for seed in range(len(found), each):
            drawn = phantom.draw(224, 224, opacity=label, seed=seed)
            drawn.save(folder / name / f"phantom{seed}.jpeg", "JPEG", quality=75)


def measure(way: str, folder: Path) -> dict[str, float]:
    """Seconds that reading the pictures into memory takes, and an epoch of each trunk."""
    import keras
    from keras import layers

    from ml_model import network
    from ml_model.training import augmentation, fitting, normalisation

    settings = fitting.Settings()
    seconds = {}
    if way != "generator":
        fitting.keep_freed_memory()
        started = time.perf_counter()
        pictures = dataset.load(folder, settings.size)
        seconds["reading"] = time.perf_counter() - started
    keras.utils.set_random_seed(settings.seed)
    model = network.build(settings.size)
    if way != "generator":
        model = normalisation.fused(model)
        fitting.freeze(model, settings.frozen_blocks)
    for trunk in EPOCHS:
        pretrained = trunk == "pretrained"
        batch = settings.batch_size if pretrained else settings.small_batch_size
        if way == "pipeline":
            augment = augmentation.build(settings.seed, strong=not pretrained)
        else:
            augment = keras.Sequential(
                [
                    layers.RandomFlip("horizontal"),
                    layers.RandomRotation(10 / 360),
                    layers.RandomTranslation(0.1, 0.1),
                    layers.RandomZoom((-0.2, 0.2), (-0.2, 0.2)),
                ]
            )
        member = network.member(model, trunk, settings.dropout)
        fitting.compile_for(member, settings, learning_rate=1e-3, steps=1000)
        feed = generator(folder, settings.size, batch)
        if way != "generator":
            feed = fitting.augmented_batches(pictures, augment, batch)
        ended: list[float] = []
        # In one go, for `fit` returns late: when TensorFlow's thread that tunes the feed has slept through, up to as
        # much time after the last epoch as all took.
        clock = keras.callbacks.LambdaCallback(on_epoch_end=functools.partial(_note, ended))
        member.fit(feed, epochs=3, shuffle=way == "generator", verbose=0, callbacks=[clock])
        seconds[trunk] = (ended[-1] - ended[0]) / 2
    return seconds


def _note(ended: list[float], epoch: int, logs: dict) -> None:
    ended.append(time.perf_counter())


def generator(folder: Path, size: int, batch: int):
    """Pictures of `folder` as scripts for this data set usually feed them."""
    from tensorflow.keras.preprocessing.image import ImageDataGenerator

    return ImageDataGenerator(
        rotation_range=10, width_shift_range=0.1, height_shift_range=0.1, zoom_range=0.2, horizontal_flip=True
    ).flow_from_directory(folder, (size, size), color_mode="grayscale", class_mode="binary", batch_size=batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given = os.environ.get("XRAY_DATA")
    parser.add_argument("data_dir", nargs="?", type=Path, default=Path(given, "chest_xray") if given else None)
    parser.add_argument("--pictures", type=int, default=256, help="a multiple of 64; by default %(default)s")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print("SECONDS", json.dumps(measure(options.only[0], Path(options.only[1]))))
        return

    about = repository.machine("tensorflow", "keras")
    seconds: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    env = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder), options.data_dir, options.pictures // 2)
        for number in range(options.rounds):
            for way in WAYS:
                print(f"round {number + 1} of {options.rounds}: {way}", file=sys.stderr)
                command = [sys.executable, __file__, "--only", way, folder]
                finished = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)  # nosec B603
                for part, value in json.loads(finished.stdout.split("SECONDS ")[1]).items():
                    seconds[way, part].append(value)
    tell({key: statistics.median(values) for key, values in seconds.items()}, about, options)


def tell(seconds: dict[tuple[str, str], float], about: str, options: argparse.Namespace) -> None:
    """Write the report."""
    from ml_model.training import fitting

    settings = fitting.Settings()
    whole = {
        way: sum(getattr(settings, name) * seconds[way, trunk] for trunk, name in EPOCHS.items())
        + seconds.get((way, "reading"), 0)
        for way in WAYS
    }
    rows = [
        [
            words,
            *(
                f"{seconds[way, trunk]:.1f} s ({seconds['generator', trunk] / seconds[way, trunk]:.1f})"
                for trunk in EPOCHS
            ),
            f"{whole[way]:.0f} s ({whole['generator'] / whole[way]:.1f})",
        ]
        for way, words in WAYS.items()
    ]
    ratio = whole["generator"] / whole["same"]
    epochs = " and ".join(f"{getattr(settings, name)} of the {trunk} trunk" for trunk, name in EPOCHS.items())
    what = "pictures of the public set" if options.data_dir else "drawn phantoms"
    repository.report(
        "Training side by side",
        f"`make bench-train`: {options.pictures} {what}, two epochs, {options.rounds} rounds. {about}\n\n"
        + repository.table(["", *(f"an epoch of the {trunk} trunk" for trunk in EPOCHS), "a whole training"], rows)
        + f"\nIn brackets: how many times quicker than the generator. A whole training is {epochs}, and reading the "
        f"pictures once ({seconds['same', 'reading']:.1f} s). The pipeline leaves the first {settings.frozen_blocks} "
        "blocks of the pretrained trunk as ImageNet taught them.\n\n"
        + repository.table(
            ["target", "measured", "asked for", ""],
            [["training, in generators", f"{ratio:.1f}", "3 or more", "met" if ratio >= 3 else "missed"]],
        ),
    )


if __name__ == "__main__":
    main()
