"""Delete what crashes leave behind."""

import datetime
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from diagnosis import retention
from diagnosis.management import base


class Command(base.Command):
    help = (
        "Delete stored files without a record, which a process leaves when it is killed while storing or deleting "
        "a picture. Nobody can reach them. The production server does this when it starts."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--older-than",
            type=int,
            default=retention.IN_FLIGHT // datetime.timedelta(minutes=1),
            metavar="MINUTES",
            help="Keep files younger than this, whose records may still be written; use 0 only while the site is "
            "stopped.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Only count them.")
        parser.add_argument(
            "--even-most",
            action="store_true",
            help="Delete them even if they outnumber the files with a record, which usually means that this is "
            "the wrong database.",
        )

    def handle(self, *, older_than: int, dry_run: bool, even_most: bool, **options: Any) -> None:
        if not 0 <= older_than < 52_560_000:  # a hundred years
            raise CommandError("--older-than needs a number of minutes from 0 to 52559999.")
        try:
            files = retention.sweep(datetime.timedelta(minutes=older_than), dry_run=dry_run, even_most=even_most)
        except retention.MostUnknown as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{'Would delete' if dry_run else 'Deleted'} {files} files without a record.")
