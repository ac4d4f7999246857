"""Gunicorn's configuration; `python -m pneumonia_site`, which `make production` calls, starts it with this.

Read by gunicorn, never imported by the site. docs/deploy.md covers systemd and nginx, benchmarks/NOTES.md the
measurements behind the numbers.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
chdir = str(BASE_DIR)
if chdir not in sys.path:
    sys.path.insert(0, chdir)
os.environ["DEBUG"] = "False"  # whatever .env says of this checkout
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pneumonia_site.settings")

# --- What the environment says ----------------------------------------------------------

try:
    from pneumonia_site.environment import env, misspelt, processes
    from pneumonia_site.settings import VAR_DIR

    bind = env.addresses("BIND", default=f"127.0.0.1:{env.number('PORT', default=8000, least=1, most=65_535)}")
    workers = processes()
    threads = env.number("THREADS", default=3, least=1, most=1_000)
except ImproperlyConfigured as error:
    raise SystemExit(f"{error}") from error

wsgi_app = "pneumonia_site.wsgi"
proc_name = "pneumonia-site"
control_socket_disable = True

# --- Processes and threads --------------------------------------------------------------

worker_class = "pneumonia_site.worker.BufferedThreadWorker"
# Code and network are read once and shared, and a worker that died is replaced in milliseconds. HUP replaces the
# workers and loses no request; new code needs a restart, see docs/deploy.md.
preload_app = True
max_requests = 10_000  # then a fresh worker takes over, not from all at the same time
max_requests_jitter = 2_000

# --- Time-outs and limits ---------------------------------------------------------------

timeout = 60  # seconds without a sign of life, after which a worker is replaced
graceful_timeout = 30  # seconds that requests in flight have to finish
keepalive = 5
worker_connections = 400  # to each worker; each may take two of the 1,024 file descriptors that it usually has
limit_request_line = 4094
limit_request_fields = 50
limit_request_field_size = 8190
forwarder_headers = ""  # by itself gunicorn lets a local caller's header SCRIPT_NAME move the site to another path
# Which requests came over HTTPS is told by SECURE_PROXY_SSL_HEADER alone, where there are proxies to tell it. By itself
# gunicorn believes three more headers, and from any caller on this machine.
secure_scheme_headers: dict[str, str] = {}
# The sign of life is a file's time stamp: a full or slow disk must not look like death.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # nosec B108

# --- Metrics ----------------------------------------------------------------------------

# Workers count in files here, so that whichever is asked for /metrics tells of all. In memory: a write into a
# mapped file on a full disk would kill the worker. The variable is set before anything that counts is imported, and
# stays while this file is read again: then the counts go on. Each server has a folder of its own, also one that starts
# while another still answers its last requests; what servers left that were killed is removed.
_folders, _prefix = Path(worker_tmp_dir or VAR_DIR), f"pneumonia-site-metrics-{os.getuid()}-"


def _runs(pid: int) -> bool:
    with contextlib.suppress(OSError, OverflowError):
        os.kill(pid, 0)
        return True
    return False


if not Path(os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")).name.startswith(f"{_prefix}{os.getpid()}-"):
    for counts in _folders.glob(f"{_prefix}*-*"):
        master = counts.name.removeprefix(_prefix).partition("-")[0]
        if master.isdigit() and (int(master) == os.getpid() or not _runs(int(master))):
            shutil.rmtree(counts, ignore_errors=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=f"{_prefix}{os.getpid()}-", dir=_folders)


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


# --- Hooks ------------------------------------------------------------------------------


def on_starting(server: Any) -> None:
    """Bring the database up to date, and say what the site will not do as it is set."""
    import django

    django.setup()
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.db import DatabaseError, connection, connections
    from django.db.migrations.executor import MigrationExecutor

    from diagnosis import checks

    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            call_command("migrate", verbosity=0)
        nobody = not settings.ANONYMOUS_UPLOADS and not get_user_model().objects.exists()
    except (DatabaseError, OSError) as error:
        raise SystemExit(f"The database cannot be brought up to date: {error}.") from error
    finally:
        connections.close_all()

    if len(settings.SECRET_KEY) < 50:  # as Django's own check counts
        server.log.warning("SECRET_KEY is short, and could be guessed: `openssl rand -base64 48` makes one.")
    for name, meant in misspelt(os.environ).items():
        server.log.warning("%s is no setting, and counts for nothing; %s is one.", name, meant)
    for message in checks.model_bundle_is_readable() + checks.media_is_writable():
        server.log.error("%s %s", message.msg, message.hint or "")
    if settings.ALLOWED_HOSTS == settings.THIS_MACHINE:
        server.log.warning("ALLOWED_HOSTS is not set, so this machine alone is served: see docs/deploy.md for others.")
    elif settings.HTTPS and not settings.NUM_PROXIES:
        server.log.warning(
            "HTTPS is on and NUM_PROXIES is 0: browsers are sent to https://, where nobody answers. Set NUM_PROXIES=1 "
            "behind a proxy, or HTTPS=False without one."
        )
    if nobody:
        server.log.warning("There is no account yet, and visitors may not upload: `make admin` makes the first one.")
    collected = Path(settings.STATIC_ROOT, "staticfiles.json")
    if not collected.exists():
        server.log.warning("Style sheets and scripts are neither compressed nor kept by browsers: `make static`.")
    elif any(file.stat().st_mtime > collected.stat().st_mtime for file in (BASE_DIR / "static").rglob("*.*")):
        server.log.warning("Style sheets and scripts have changed since they were collected: `make static`.")


def on_reload(server: Any) -> None:
    """Have gunicorn speak in the site's format; each reload sets its log up anew."""
    from django.conf import settings
    from django.utils.module_loading import import_string

    chosen = import_string(settings.LOG_FORMATS[settings.LOG_FORMAT])
    for handler in server.log.error_log.handlers:
        handler.setFormatter(chosen())


def when_ready(server: Any) -> None:
    """Remove what an earlier crash left behind, beside the serving."""
    on_reload(server)  # until now gunicorn spoke of its own address, from now on it would quote what clients send
    subprocess.Popen(
        ["/usr/bin/env", "nice", "-n", "19", sys.executable, "manage.py", "sweep"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"},  # no worker
    )


def post_fork(server: Any, worker: Any) -> None:
    """A worker hears a stop while it boots, shares no database connection with its parent, and gives back the memory
    that large pictures took."""
    from django.db import connections

    # Until now signals went where those to the parent go: into a queue, of which the worker's copy is read by nobody.
    # A worker that was told to stop while it booted would serve on, and be killed after `graceful_timeout`.
    stops = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}
    for each in stops:
        signal.signal(each, signal.SIG_DFL)  # the worker's own handlers follow
    while not server.SIG_QUEUE.empty():
        if server.SIG_QUEUE.get() in stops:
            sys.exit(0)

    connections.close_all()
    # Some systems clear the memory of people who log out; without a place to count, each request would fail.
    Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).mkdir(mode=0o700, exist_ok=True)
    # By itself glibc learns from the first large picture to keep the memory of the next ones: 200 MB and more.
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_MMAP_THRESHOLD, 1 << 20)
        mallopt(M_TRIM_THRESHOLD, 16 << 20)


def child_exit(server: Any, worker: Any) -> None:
    """What a worker counted outlives it, however it died."""
    from diagnosis import metrics

    try:
        metrics.worker_gone(worker.pid)
    except Exception:  # a full disk, say, must not end the server
        server.log.exception("What worker %s counted is lost", worker.pid)


def on_exit(server: Any) -> None:
    """Give the memory back in which workers counted."""
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
