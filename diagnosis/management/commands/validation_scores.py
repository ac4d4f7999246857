"""`manage.py validation_scores DATA_DIR`"""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from diagnosis.inference import workshop
from diagnosis.management import base


class Command(base.Command):
    help = (
        "Write the scores of a model's validation pictures into its report, for drift_report. train_model does "
        "this by itself; older models need it once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("data_dir", type=Path, metavar="DATA_DIR", help="the folder that the model was trained on")
        parser.add_argument("--model", metavar="VERSION", help="a version that list_models shows, or a folder")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            path, pictures = workshop.validation_scores(options["data_dir"], model=options["model"])
        except (workshop.DataError, workshop.Unavailable) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Scores of {pictures} validation pictures: {path}")
