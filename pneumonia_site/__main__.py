"""`python -m pneumonia_site` serves the site in production: it becomes gunicorn, configured by gunicorn.py.

gunicorn itself reads WEB_CONCURRENCY before any configuration, and ends in a traceback where that is no number.
"""

import os
import sys

from django.core.exceptions import ImproperlyConfigured

try:
    from pneumonia_site.environment import BASE_DIR, processes

    os.environ["WEB_CONCURRENCY"] = str(processes())
except ImproperlyConfigured as error:
    raise SystemExit(f"{error}") from error
configuration = str(BASE_DIR / "pneumonia_site" / "gunicorn.py")
gunicorn = [sys.executable, "-m", "gunicorn", "--config", configuration, *sys.argv[1:]]
os.execv(sys.executable, gunicorn)  # noqa: S606  # nosec B606
