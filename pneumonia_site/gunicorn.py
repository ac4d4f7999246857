"""How gunicorn serves the site: `gunicorn --config pneumonia_site/gunicorn.py`, which `make production` calls.

Read by gunicorn, never imported by the site. docs/deploy.md tells of systemd and nginx; benchmarks/NOTES.md
of the measurements behind the numbers.
"""

import os
from pathlib import Path
from typing import Any

os.environ["DEBUG"] = "False"  # whatever .env says of this checkout
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pneumonia_site.settings")

wsgi_app = "pneumonia_site.wsgi"
chdir = str(Path(__file__).resolve().parent.parent)
bind = os.environ.get("BIND") or f"127.0.0.1:{os.environ.get('PORT') or 8000}"

# --- Processes and threads --------------------------------------------------------------

worker_class = "pneumonia_site.worker.BufferedThreadWorker"
workers = int(os.environ.get("WEB_CONCURRENCY") or max(2, len(os.sched_getaffinity(0))))
threads = int(os.environ.get("THREADS") or 4)
# Code, network and settings are read once and shared by all workers, and one that died is replaced in milliseconds.
preload_app = True
# A worker makes room for a fresh one now and then, not all at the same time.
max_requests = 10_000
max_requests_jitter = 2_000

# --- Time-outs and limits ---------------------------------------------------------------

timeout = 60  # seconds without a sign of life, after which a worker is replaced
graceful_timeout = 30  # seconds that requests in flight have to finish
keepalive = 5
worker_connections = 400  # to each worker; each may take two of the 1,024 file descriptors that it usually has
limit_request_line = 4094
limit_request_fields = 50
limit_request_field_size = 8190
# The sign of life is a file's time stamp: a full or slow disk must not look like death.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # nosec B108
control_socket_disable = True
proc_name = "pneumonia-site"


# --- Hooks ------------------------------------------------------------------------------


def on_starting(server: Any) -> None:
    """Bring the database up to date before the first request, and say what the site will not do as it is set."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def post_fork(server: Any, worker: Any) -> None:
    """A worker shares no database connection with its parent."""
    from django.db import connections

    connections.close_all()
