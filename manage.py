#!/usr/bin/env python
"""Django's command line. `python manage.py help` lists what there is."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pneumonia_site.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
        from django.core.servers.basehttp import WSGIRequestHandler
    except ImportError as error:
        raise SystemExit("Django is not installed here. Run `make serve`, or use .venv/bin/python.") from error
    # `runserver` sends heads and bodies apart. The second would wait 40 ms for the browser to acknowledge the first.
    WSGIRequestHandler.disable_nagle_algorithm = True
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:  # by whom the site is set up, who needs no traceback
        raise SystemExit(f"{error}") from error


if __name__ == "__main__":
    main()
