"""Put a backup in the place of what the site keeps."""

import sqlite3
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError

from diagnosis import backup
from diagnosis.management import base


class Command(base.Command):
    help = (
        "Put a file that `backup` wrote in the place of rows, X-rays and heatmaps, once it has been verified. Stop the "
        "site first. What was there is kept, in folders whose names begin with .before-"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE")
        parser.add_argument("--force", action="store_true", help="Also where there are data already.")

    def handle(self, *, file: Path, force: bool, **options: Any) -> None:
        try:
            made = backup.read(file, replace=force)
        except backup.Refused as error:
            raise CommandError(str(error)) from error
        except (OSError, sqlite3.Error, DatabaseError) as error:
            raise CommandError(f"{file} could not be restored: {error}. What was there is in its place.") from error
        self.stdout.write(
            f"Restored {made.uploads} uploads and {made.predictions} predictions, as they were at {made.made}."
            + (" What was there lies in folders beside whose names begin with .before-; delete them in time." * force)
        )
