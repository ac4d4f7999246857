#!/usr/bin/env python
"""Django's command line. `python manage.py help` lists what there is."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pneumonia_site.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
    except ImportError as error:
        raise SystemExit("Django is not installed here. Run `make serve`, or use .venv/bin/python.") from error
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:  # by whom the site is set up, who needs no traceback
        raise SystemExit(f"{error}") from error


if __name__ == "__main__":
    main()
