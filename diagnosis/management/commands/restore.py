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
        "Verify a file that `backup` wrote, and replace rows, X-rays and heatmaps by it. Stop the site first. The "
        "old data are kept in folders whose names begin with .before-"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE")
        parser.add_argument("--force", action="store_true", help="Replace existing data.")

    def handle(self, *, file: Path, force: bool, **options: Any) -> None:
        try:
            made = backup.read(file, replace=force)
        except backup.Refused as error:
            raise CommandError(str(error)) from error
        except (OSError, sqlite3.Error, DatabaseError) as error:
            raise CommandError(f"{file} could not be restored: {error}. The existing data are unchanged.") from error
        self.stdout.write(
            f"Restored {made.uploads} uploads and {made.predictions} predictions, as they were at {made.made}."
            + (
                " The old data are next to it, in folders whose names begin with .before-; delete them when you no "
                "longer need them." * force
            )
        )
