"""Fixtures for every test: drawn pictures, a folder for files, and three people."""

import io
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml_model import phantom

# The server of browser tests and Playwright share a thread with an event loop.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first, so that no process is left alone with one in the end."""
    items.sort(key=lambda item: "training" not in item.keywords)


@pytest.fixture(scope="session")
def closed_connections(django_db_setup) -> None:
    """A loop running in a thread gives it database connections of their own: those before stay open, out of reach."""
    from django.db import connections

    connections.close_all()


@pytest.fixture(scope="session")
def playwright(closed_connections, playwright):
    return playwright


@pytest.fixture(scope="session")
def live_server(live_server):
    """Its threads, which live as long as a browser holds on to them, close their own database connections.

    Django would, but not for whoever ends a request in the moment in which a test client ends one, too.
    """
    from django.core.servers.basehttp import WSGIRequestHandler
    from django.core.signals import request_finished
    from django.db import connections

    # It sends heads and bodies apart. The second would wait 40 ms for the browser to acknowledge the first.
    WSGIRequestHandler.disable_nagle_algorithm = True
    tests = threading.current_thread()

    def close(**signal) -> None:
        if threading.current_thread() is not tests:
            connections.close_all()

    request_finished.connect(close)
    yield live_server
    request_finished.disconnect(close)


@pytest.fixture(autouse=True)
def own_storage(settings, tmp_path: Path) -> None:
    """Files that a test stores lie in a folder of its own; throttles and limits are as a fresh clone has them."""
    settings.MEDIA_ROOT = str(tmp_path / "media")
    settings.ANONYMOUS_UPLOADS = True
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.WHITENOISE_AUTOREFRESH = True  # or each new client would first search the folders for every style sheet


@pytest.fixture(autouse=True)
def own_model(monkeypatch) -> None:
    """A test that serves another model leaves the process as it was."""
    from diagnosis.inference import serving

    for name in ("_classifier", "_failure", "_opened"):
        monkeypatch.setattr(serving, name, getattr(serving, name))


@pytest.fixture(autouse=True)
def forget_throttling() -> None:
    from django.core.cache import cache

    cache.clear()


@pytest.fixture
def xray() -> Callable[..., bytes]:
    """Draws a phantom chest X-ray as a picture file: `xray("PNG", opacity=1, quality=90)`."""

    def make(file_format: str = "JPEG", *, size: tuple[int, int] = (640, 560), opacity=0.0, seed=0, **options) -> bytes:
        file = io.BytesIO()
        phantom.draw(*size, opacity=opacity, seed=seed).save(file, file_format, **options)
        return file.getvalue()

    return make


@pytest.fixture
def no_xray() -> bytes:
    """A picture file that shows a chessboard."""
    board = np.kron(np.indices((8, 8)).sum(axis=0) % 2, np.ones((40, 40))) * 255
    file = io.BytesIO()
    Image.fromarray(board.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def _user(name: str, role: str | None = None, **fields):
    from django.contrib.auth import get_user_model

    from diagnosis import roles

    user = get_user_model().objects.create_user(username=name, password="secret of " + name, **fields)
    if role:
        roles.give(user, role)
    return user


@pytest.fixture
def alice(db):
    """Owns uploads."""
    return _user("alice", "uploader")


@pytest.fixture
def bob(db):
    """Reviews."""
    return _user("bob", "reviewer")


@pytest.fixture
def ada(db):
    """Administers."""
    return _user("ada", "administrator")


@pytest.fixture
def charlie(db):
    """Must see nothing of the others."""
    return _user("charlie", "uploader")


@pytest.fixture(scope="session")
def xray_data() -> Path:
    """The folder of real pictures, see README."""
    folder = os.environ.get("XRAY_DATA")
    if not folder:
        pytest.skip("needs real X-rays: set XRAY_DATA to the folder that holds chest_xray/ and originals/")
    return Path(folder)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict) -> dict:
    """Playwright uses the system's Chromium, its headless shell where that is installed; nothing is downloaded."""
    for command in ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(command):
            flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
            return {**browser_type_launch_args, "executable_path": found, "args": flags}
    pytest.skip("needs Chromium: apt-get install chromium-headless-shell")


@pytest.fixture
def quiet_page(page):
    """A page whose console must stay free of errors."""
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    assert errors == []
