"""`manage.py import_model FILE.h5`"""

import re
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from diagnosis.inference import workshop
from diagnosis.management import base


class Command(base.Command):
    help = (
        "Turn a network that was trained elsewhere, a Keras 2 or 3 .h5 file, into a model that this site can serve. "
        "It asks for whatever the file does not say."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        # argparse takes "-1-1" for an option unless it looks like a negative number.
        parser._negative_number_matcher = re.compile(r"^-1-1$|^-\d+$|^-\d*\.\d+$")
        parser.add_argument("file", type=Path, metavar="FILE.h5")
        parser.add_argument(
            "--input-range", choices=["0-1", "0-255", "-1-1"], help="pixel range that the network expects"
        )
        parser.add_argument(
            "--channels", type=int, choices=[1, 3], help="of the network's input, if the file leaves it open"
        )
        parser.add_argument(
            "--size", type=int, help="side of the network's input in pixels, if the file leaves it open"
        )
        parser.add_argument(
            "--positive-label", choices=workshop.LABELS, help="what a high output, or the second of two outputs, means"
        )
        parser.add_argument("--threshold", type=float, default=0.5, help="Pneumonia is answered from there upward; 0.5")
        parser.add_argument("--name", help="name of the model, after `imported-` (default: the file's name)")
        parser.add_argument(
            "--output", type=Path, metavar="DIR", help="folder for the new model (default: the setting MODELS_DIR)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        names = ("size", "channels", "input_range", "positive_label", "threshold")
        try:
            folder = workshop.import_model(
                options["file"],
                root=options["output"],
                name=options["name"],
                **{name: options[name] for name in names},
            )
        except workshop.ImportRefused as error:
            raise CommandError(str(error)) from error
        self.stdout.write(self.style.SUCCESS(f"The new model is {folder}"))
        model = folder if options["output"] else folder.name
        self.stdout.write(f"Measure it with: python manage.py evaluate_model DATA_DIR/test --model {model}")
        self.stdout.write(f"Serve it by setting MODEL_BUNDLE={model}")
        if not options["output"]:
            self.stdout.write(
                f"or, if it is not worse than the served one, with: python manage.py promote_model {model}"
            )
