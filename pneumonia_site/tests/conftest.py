"""A production server for the tests that ask one."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.production import Site


def serve(folder: Path, configuration: str = "pneumonia_site/gunicorn.py", **environment: str) -> Site:
    site = Site(folder, own_disk=False, ANONYMOUS_UPLOADS="True", WEB_CONCURRENCY="2", **environment)
    site.start(configuration)
    site.wait()
    return site


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    served = serve(tmp_path_factory.mktemp("site"))
    yield served
    served.close()


def exchange(site: Site, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as client:
        client.sendall(request)
        answer = b""
        while more := client.recv(65_536):
            answer += more
    return answer
