"""How quick and how small serving is: `python benchmarks/serving.py [FOLDER_OF_PICTURES]`.

Medians over repeated calls in one process, one thread. Without a folder, phantoms of
1800 x 1400 pixels stand for what hospitals send.
"""

import io
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def median_ms(call: Callable[[], object], repeats: int) -> float:
    """Median duration of `call` in milliseconds, after one call to warm up."""
    call()
    durations = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        durations.append(time.perf_counter() - start)
    return 1000 * statistics.median(durations)


def main() -> None:
    start = time.perf_counter()
    from ml_model import Classifier, bundle, images, phantom

    classifier = Classifier(bundle.current())
    print(f"{'start: imports, checksums, golden pictures':<45} {time.perf_counter() - start:6.2f} s")

    if len(sys.argv) > 1:
        pictures = [path.read_bytes() for path in sorted(Path(sys.argv[1]).rglob("*.jp*g"))[:50]]
    else:
        pictures = []
        for seed in range(5):
            file = io.BytesIO()
            phantom.draw(1800, 1400, seed=seed).save(file, "JPEG", quality=90)
            pictures.append(file.getvalue())
    size = classifier.card.input_size
    greys = [images.read(data, at_least=size).grey for data in pictures]
    inputs = [classifier.prepare(grey) for grey in greys]

    def tell(what: str, call: Callable, items: list) -> None:
        middle = statistics.median(median_ms(lambda item=item: call(item), 10) for item in items)
        print(f"{what:<45} {middle:6.1f} ms")

    tell("decode a picture file", lambda data: images.read(data, at_least=size), pictures)
    tell("prepare the network's input", classifier.prepare, greys)
    tell("network, with activation map and gate", classifier.run, inputs)
    tell("whole diagnosis", classifier.diagnose, pictures)
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{'memory at most':<45} {megabytes:6.0f} MB")


if __name__ == "__main__":
    main()
