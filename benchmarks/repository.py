"""What the benchmarks share: where the project is, what the machine is, a picture, and the report."""

import datetime
import importlib.metadata
import io
import os
import platform
import re
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
NEAR = 520_000
"""Bytes of a full-size X-ray as JPEG."""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def full_size_jpegs() -> list[Path]:
    """The full-size X-rays at hand, by name; none without the data that README tells of."""
    folder = os.environ.get("XRAY_DATA")
    return sorted(Path(folder, "originals").rglob("*.jp*g")) if folder else []


def full_size_jpeg() -> tuple[bytes, str]:
    """A JPEG of about half a megabyte, and what it is: a real X-ray, or else a phantom of that size."""
    if found := full_size_jpegs():
        data = min((path.read_bytes() for path in found), key=lambda data: abs(len(data) - NEAR))
        return data, f"an X-ray, JPEG of {len(data) / 1e6:.2f} MB"
    from ml_model import phantom

    drawn, candidates = phantom.draw(1554, 1229), []
    for quality in range(70, 100, 3):
        file = io.BytesIO()
        drawn.save(file, "JPEG", quality=quality)
        candidates.append(file.getvalue())
    data = min(candidates, key=lambda data: abs(len(data) - NEAR))
    return data, f"a drawn phantom, JPEG of {len(data) / 1e6:.2f} MB"


def machine(*packages: str) -> str:
    """The machine, in one line, with versions of `packages`."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return (
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, "
        f"{cores()} cores ({model[1] if model else platform.machine()}), "
        f"{memory:.0f} GB, {platform.system()} {platform.release()}, Python {platform.python_version()}, {versions}. "
        f"Load before: {os.getloadavg()[0]:.1f}."
    )


def table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def report(title: str, text: str) -> None:
    """Print `text`, and put it into RESULTS.md as the section `title`, in place of what stood there."""
    print(text)
    before = RESULTS.read_text() if RESULTS.exists() else "# Measured\n\nWritten by the programs beside it.\n"
    sections = re.split(r"(?m)^(?=## )", before)
    kept = [section for section in sections if not section.startswith(f"## {title}\n")]
    kept.append(f"## {title}\n\n{text.strip()}\n")
    kept[1:] = sorted(kept[1:])
    RESULTS.write_text("\n\n".join(section.strip() for section in kept) + "\n")
