"""The server of production over PostgreSQL instead of SQLite: the same answers, also where it fails for a moment."""

import os
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from psycopg import Connection, connect, sql

from benchmarks.production import Site


@pytest.fixture
def postgresql() -> Iterator[Connection]:
    """A connection to a database of its own on the server that POSTGRESQL names, as postgresql://USER:PASSWORD@HOST/"""
    server = os.environ.get("POSTGRESQL")
    if not server:
        pytest.skip("needs a PostgreSQL server: set POSTGRESQL to its address, postgresql://USER:PASSWORD@HOST")
    name = f"test_{secrets.token_hex(8)}"
    with connect(server, dbname="postgres", autocommit=True) as administrator:
        administrator.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            with connect(server, dbname=name, autocommit=True) as connection:
                yield connection
        finally:
            administrator.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def site(postgresql, tmp_path) -> Iterator[Site]:
    at = postgresql.info
    address = f"postgres://{at.user}:{at.password}@{at.host}:{at.port}/{at.dbname}"
    site = Site(tmp_path, own_disk=False, DATABASE_URL=address, WEB_CONCURRENCY="2")
    try:
        yield site
    finally:
        site.close()


def test_it_is_served_over_postgresql(site: Site, postgresql: Connection, xray: Callable[..., bytes]) -> None:
    token = site.account()
    site.start()
    site.wait()

    def ask(method: str, path: str, key: str = "", **options) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"} | ({"Idempotency-Key": key} if key else {})
        return requests.request(method, site.address + path, headers=headers, timeout=60, **options)

    def post(seed: int, key: str) -> requests.Response:
        return ask("POST", "/predict", key, files={"file": ("x.jpg", xray(seed=seed))})

    with ThreadPoolExecutor(8) as clients:
        same = list(clients.map(post, [1] * 8, ["one"] * 8))
        others = list(clients.map(post, range(8), "abcdefgh"))
    assert {answer.status_code for answer in same + others} == {200}
    assert len({answer.json()["id"] for answer in same}) == 1
    assert post(2, "one").status_code == 422
    found = ask("GET", "/api/predictions/", params={"search": "X.JPG"}).json()
    assert {row["id"] for row in found["results"]} == {answer.json()["id"] for answer in same + others}

    # As after a restart of the database: connections that stayed open are gone.
    postgresql.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert [post(9, "late").status_code for _ in range(4)] == [200] * 4
    assert ask("GET", "/readyz").status_code == 200

    assert ask("DELETE", f"/api/predictions/{same[0].json()['id']}/").status_code == 204
    with pytest.raises(RuntimeError, match="pg_dump"):
        site.manage("backup", str(site.var / "backup.zip"))
    assert "0 uploads" in site.manage("purge", "--older-than", "1")
