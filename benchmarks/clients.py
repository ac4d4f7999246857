"""Clients that never give up on a picture, and what they see of a site that is tortured."""

import io
import random
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import requests
from PIL import Image

from benchmarks.production import Site
from ml_model import phantom

CLIENTS = 32


@dataclass
class Cause:
    """What was done, and what the clients saw of it. answers: by HTTP status; broken: connections without an answer."""

    name: str
    seconds: float = 0.0
    answers: Counter = field(default_factory=Counter)
    broken: int = 0
    back_after: float | None = None
    memory_mb: float = 0.0
    said: str = ""


class Load:
    """32 clients that never give up on a picture, and what they were told."""

    def __init__(self, site: Site, token: str):
        self.site, self.headers = site, {"Authorization": f"Bearer {token}"}
        self.cause = Cause("the first start")
        self.accepted: dict[str, tuple[str, str]] = {}
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.bases = [np.asarray(phantom.draw(480, 420, opacity=n % 2, seed=n)) for n in range(8)]
        self.threads = [threading.Thread(target=self._client, args=[n], daemon=True) for n in range(CLIENTS)]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """Let each client end with an answer 200."""
        self.stopping.set()
        for thread in self.threads:
            thread.join(120)

    def picture(self, chance: random.Random) -> bytes:
        """A phantom with a spot of its own."""
        pixels = chance.choice(self.bases).copy()
        x, y = chance.randrange(40, 400), chance.randrange(40, 360)
        pixels[y : y + 12, x : x + 12] = [[chance.randrange(256)] * 12 for _ in range(12)]
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=80)
        return file.getvalue()

    def _client(self, number: int) -> None:
        chance = random.Random(number)  # noqa: S311  # nosec B311
        session = requests.Session()
        while not self.stopping.is_set():
            key, picture = str(uuid.UUID(int=chance.getrandbits(128))), self.picture(chance)
            while not self.send(session, key, picture):
                time.sleep(0.1 + 0.2 * chance.random())

    def send(self, session: requests.Session, key: str, picture: bytes) -> bool:
        """Post one picture; whether the answer is final."""
        cause = self.cause
        try:
            answer = session.post(
                f"{self.site.address}/predict",
                files={"file": ("xray.jpg", picture)},
                headers={**self.headers, "Idempotency-Key": key},
                timeout=60,
            )
        except requests.RequestException:
            with self.lock:
                cause.broken += 1
            return False
        with self.lock:
            cause.answers[answer.status_code] += 1
            if answer.status_code == 200:
                told = answer.json()
                self.accepted[key] = (told["id"], told["sha256"])
            elif answer.status_code != 422 and not answer.text.strip().endswith(("}", ".")):
                cause.said = f"{answer.status_code} without a sentence"
        return answer.status_code < 500 and answer.status_code != 408

    def wait_for_answers(self, number: int = 1, patience: float = 120) -> float:
        """Seconds until so many further pictures were accepted."""
        start, goal = time.monotonic(), len(self.accepted) + number
        while len(self.accepted) < goal:
            if time.monotonic() - start > patience:
                raise RuntimeError(f"No picture was accepted for {patience} seconds during: {self.cause.name}")
            time.sleep(0.02)
        return time.monotonic() - start


def codes(answers: Counter) -> str:
    """How many answers of each HTTP status, in words."""
    return ", ".join(f"{number} x {code}" for code, number in sorted(answers.items()) if number) or "no answers"
