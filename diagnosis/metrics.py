"""What is counted and timed for Prometheus. docs/monitoring.md explains each metric.

Labels have few values each: no keys, no names, nothing that people write. A single process counts in its memory.
Where there are several workers, each counts in files of its own in the folder that the environment
variable PROMETHEUS_MULTIPROC_DIR names, set before this module is imported, and whichever is asked adds them up.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, multiprocess
from prometheus_client.exposition import choose_encoder
from prometheus_client.mmap_dict import MmapedDict

REQUESTS = Counter(
    "pneumonia_site_http_requests_total", "Requests, by view, method and status.", ["view", "method", "status"]
)
REQUEST_SECONDS = Histogram(
    "pneumonia_site_http_request_seconds",
    "From a whole request to the head of its answer.",
    ["view", "method"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
_STEP = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
DECODE_SECONDS = Histogram("pneumonia_site_decode_seconds", "Decoding one picture.", buckets=_STEP)
INFERENCE_SECONDS = Histogram("pneumonia_site_inference_seconds", "The network on one picture.", buckets=_STEP)
PREDICTIONS = Counter(
    "pneumonia_site_predictions_total",
    "Stored predictions. status: ok, rejected by the gate, or forced. label: none where rejected.",
    ["label", "status", "model_version"],
)
FAILED = Counter(
    "pneumonia_site_uploads_failed_total", "Pictures that got no answer, by code, as in docs/api.md.", ["code"]
)

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


def request_answered(view: str, method: str | None, status: int, seconds: float) -> None:
    """Count a request. view: the name of a URL, never the URL itself."""
    method = method if method in _METHODS else "other"  # a client may send any word
    REQUESTS.labels(view, method, status).inc()
    REQUEST_SECONDS.labels(view, method).observe(seconds)


def picture_read(decode_milliseconds: float, milliseconds: float) -> None:
    """Time a picture; milliseconds: decoding and network."""
    DECODE_SECONDS.observe(decode_milliseconds / 1000)
    INFERENCE_SECONDS.observe((milliseconds - decode_milliseconds) / 1000)


def prediction_stored(label: str, status: str, model_version: str) -> None:
    """Count a prediction; one that the gate rejected is a failed upload too."""
    PREDICTIONS.labels(label or "none", status, model_version).inc()
    if status == "rejected":
        FAILED.labels("not_a_chest_xray").inc()


@contextmanager
def counting_failures(code_of: Callable[[Exception], str]) -> Iterator[None]:
    """Count what is raised inside, by its code."""
    try:
        yield
    except Exception as error:
        FAILED.labels(code_of(error)).inc()
        raise


def exposition(accept: str) -> tuple[bytes, str]:
    """All figures in the format that the header `accept` asks for, and its content type."""
    encode, content_type = choose_encoder(accept)
    folder = _folder()
    if folder is None:
        return encode(REGISTRY), content_type
    registry = CollectorRegistry()
    with _locked(folder, fcntl.LOCK_SH):
        multiprocess.MultiProcessCollector(registry, str(folder))
        return encode(registry), content_type


def worker_gone(pid: int) -> None:
    """Add what the dead worker `pid` counted to what all dead ones did, and delete its files.

    Otherwise each recycled worker would leave two files behind that every scrape has to read.
    """
    folder = _folder()
    if folder is None:
        return
    with _locked(folder, fcntl.LOCK_EX):
        multiprocess.mark_process_dead(pid, str(folder))
        for kind in ("counter", "histogram"):
            path = folder / f"{kind}_{pid}.db"
            if path.exists():
                total = MmapedDict(str(folder / f"{kind}_gone.db"))
                for key, value, _timestamp, _position in MmapedDict.read_all_values_from_file(str(path)):
                    total.write_value(key, total.read_value(key)[0] + value, 0.0)
                total.close()
                path.unlink()


def _folder() -> Path | None:
    name = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(name) if name else None


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    """Readers together, or one writer alone: nobody sees a dead worker's counts twice, or not at all."""
    folder.mkdir(mode=0o700, exist_ok=True)  # somebody may have cleaned up
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, how)
        yield
