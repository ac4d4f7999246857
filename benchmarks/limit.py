"""The least that an answer costs: decoding the JPEG and one pass of the network, alone, in a loop.

`python benchmarks/limit.py PICTURE… [--seconds S]` tells the parts on one core, and how many a second all
cores together manage with a process each. Decoded is as the site decodes, in part of the picture's size
inside the cosine transform: nobody who answers the same can be much quicker.
"""

import argparse
import io
import itertools
import multiprocessing
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import repository
from PIL import Image

from ml_model import Classifier, bundle


@dataclass(frozen=True)
class Pass:
    """Seconds that one picture took."""

    decode: float
    prepare: float
    network: float

    @property
    def whole(self) -> float:
        return self.decode + self.prepare + self.network


def loop(pictures: list[bytes], seconds: float) -> list[Pass]:
    """As many passes as go into `seconds` on one core, of `pictures` in turn."""
    classifier = Classifier(bundle.current())
    scale = 2 * classifier.card.input_size
    passes = []
    end = time.perf_counter() + seconds
    for data in itertools.cycle(pictures):
        started = time.perf_counter()
        if started > end:
            return passes
        with Image.open(io.BytesIO(data)) as picture:
            picture.draft("L", (scale, scale))
            grey = picture.convert("L")
        decoded = time.perf_counter()
        pixels = classifier.prepare(grey)
        prepared = time.perf_counter()
        classifier.run(pixels)
        passes.append(Pass(decoded - started, prepared - decoded, time.perf_counter() - prepared))
    raise ValueError("There is no picture.")


def on_all_cores(pictures: list[bytes], seconds: float) -> float:
    """Passes a second of one process for each core."""
    cores = repository.cores()
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        pool.starmap(loop, [(pictures, 0.5)] * cores, chunksize=1)  # every process is ready, and warm
        return sum(map(len, pool.starmap(loop, [(pictures, seconds)] * cores, chunksize=1))) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE")
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    pictures = [path.read_bytes() for path in options.pictures]
    passes = loop(pictures, options.seconds)
    for part in ("decode", "prepare", "network", "whole"):
        middle = statistics.median(getattr(each, part) for each in passes)
        print(f"{part:<10} {1000 * middle:6.1f} ms")
    print(f"{'one core':<10} {len(passes) / options.seconds:6.1f} a second")
    print(f"{'all cores':<10} {on_all_cores(pictures, options.seconds):6.1f} a second")


if __name__ == "__main__":
    main()
