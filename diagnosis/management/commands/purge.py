"""Delete pictures after their time, rows and files together."""

import datetime
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from diagnosis import retention
from diagnosis.management import base


class Command(base.Command):
    help = (
        "Delete every upload older than DAYS days, with its predictions, pictures and heatmaps, and stored files "
        "of that age without a record. For a daily timer."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--older-than", type=int, required=True, metavar="DAYS")
        parser.add_argument("--dry-run", action="store_true", help="Only count them.")

    def handle(self, *, older_than: int, dry_run: bool, **options: Any) -> None:
        if not 0 < older_than < 36_500:
            raise CommandError("--older-than needs a number of days from 1 to 36499.")
        try:
            purged = retention.purge(datetime.timedelta(days=older_than), dry_run=dry_run)
        except retention.MostUnknown as error:
            raise CommandError(f"Uploads are deleted, and files without a record are not. {error}") from error
        verb = "Would delete" if dry_run else "Deleted"
        self.stdout.write(f"{verb} {purged.uploads} uploads and {purged.stray_files} files without a record.")
