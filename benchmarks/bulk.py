"""`predict_images` over very many files: `make bench-bulk`, or `python benchmarks/bulk.py --files N`.

The files are links to the full-size X-rays at hand, or to drawn phantoms. Told are pictures a second in each
quarter of the run, memory at the end of each, and the share of the limit on all cores, measured on the same
pictures before and after.
"""

import argparse
import itertools
import statistics
import subprocess  # nosec B404
import sys
import tempfile
import time
from pathlib import Path

import limit
import psutil
import repository


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--jobs", type=int, default=repository.cores())
    options = parser.parse_args()
    about = repository.machine("ai-edge-litert", "pillow")
    with tempfile.TemporaryDirectory() as folder:
        pictures = repository.full_size_jpegs()
        if not pictures:
            pictures = [Path(folder, "phantom.jpeg")]
            pictures[0].write_bytes(repository.full_size_jpeg()[0])
        many = Path(folder, "many")
        many.mkdir()
        for number, picture in zip(range(options.files), itertools.cycle(pictures), strict=False):
            (many / f"{number:07}.jpeg").symlink_to(picture)
        files = [path.read_bytes() for path in pictures]
        limits = [limit.on_all_cores(files, 10)]
        rates, megabytes = run(many, Path(folder, "answers.csv"), options.files, options.jobs)
        limits.append(limit.on_all_cores(files, 10))

    whole, most = statistics.harmonic_mean(rates), statistics.mean(limits)
    share = whole / most
    flat = megabytes[-1] - megabytes[0]
    repository.report(
        "Many files",
        f"`make bench-bulk`: `predict_images` over {options.files} files, links to {len(pictures)} pictures of "
        f"{sum(map(len, files)) / len(files) / 1e6:.2f} MB on average, --jobs {options.jobs}. {about}\n\n"
        + repository.table(
            ["quarter", "pictures a second", "memory at its end (PSS)"],
            [
                [number, f"{rate:.1f}", f"{memory:.0f} MB"]
                for number, rate, memory in zip("1234", rates, megabytes, strict=True)
            ],
        )
        + f"\n{whole:.1f} a second of {most:.1f} that decoding and one pass of the network alone manage on all cores: "
        f"{100 * share:.0f} % (asked for: 70 %). From the first quarter's end to the last one's, memory changed by "
        f"{flat:+.0f} MB.\n",
    )


def run(folder: Path, output: Path, count: int, jobs: int) -> tuple[list[float], list[float]]:
    """Pictures a second in each quarter, and megabytes at its end."""
    command = [sys.executable, "manage.py", "predict_images", folder, "--output", output, "--jobs", jobs]
    rates, megabytes = [], []
    with subprocess.Popen([*map(str, command)], cwd=repository.ROOT, stderr=subprocess.DEVNULL) as process:  # nosec B603
        watched = psutil.Process(process.pid)
        while not rows_in(output) and process.poll() is None:
            time.sleep(0.01)
        before, memory, started = 0, 0.0, time.perf_counter()
        for quarter in range(1, 5):
            while (rows := rows_in(output)) < quarter * count // 4 - jobs and process.poll() is None:
                time.sleep(0.5)
                if process.poll() is None:
                    memory = watched.memory_full_info().pss / 1e6
            now = time.perf_counter()
            rates.append((rows - before) / (now - started))
            megabytes.append(memory)
            before, started = rows, now
    if process.returncode or rows_in(output) != count:
        raise SystemExit(f"predict_images ended with {process.returncode} and {rows_in(output)} rows of {count}.")
    return rates, megabytes


class _Counter:
    """Counts the lines of a growing file, each once."""

    def __init__(self) -> None:
        self.position = self.lines = 0

    def __call__(self, output: Path) -> int:
        """Rows so far, without the head."""
        if output.exists():
            with output.open("rb") as file:
                file.seek(self.position)
                new = file.read()
            self.position += len(new)
            self.lines += new.count(b"\n")
        return max(0, self.lines - 1)


rows_in = _Counter()


if __name__ == "__main__":
    main()
