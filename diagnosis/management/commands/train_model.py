"""`manage.py train_model DATA_DIR`"""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from diagnosis.inference import workshop
from diagnosis.management import base


class Command(base.Command):
    help = (
        "Train a network on DATA_DIR/train/{NORMAL,PNEUMONIA}. promote_model makes it the served model; if no "
        "other can be served, it is served at once. After an interruption, run the same command again to resume."
    )
    stopped = "Stopped. Run the same command again to resume."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("data_dir", type=Path, metavar="DATA_DIR")
        parser.add_argument(
            "--epochs", type=int, help="passes over the pictures for the pretrained trunk, or for a student"
        )
        parser.add_argument("--small-epochs", type=int, help="passes over the pictures for the small trunk")
        parser.add_argument("--batch-size", type=int, help="pictures per step, of the pretrained trunk or a student")
        parser.add_argument("--learning-rate", type=float, help="its peak, of the pretrained trunk or a student")
        parser.add_argument("--size", type=int, help="side of the network's input in pixels, a multiple of 32")
        parser.add_argument("--validation-share", type=float, help="share of patients held out, 0 to 1")
        parser.add_argument("--frozen-blocks", type=int, help="first blocks that keep their ImageNet weights")
        parser.add_argument("--seed", type=int)
        start = parser.add_mutually_exclusive_group()
        start.add_argument("--from-scratch", action="store_true", help="start from random weights, not from ImageNet")
        start.add_argument(
            "--teacher",
            metavar="MODEL",
            help="train a student of this model, which train_model must have made; it costs half as much to run",
        )
        parser.add_argument(
            "--extra",
            type=Path,
            metavar="DIR",
            help="additional training pictures, as export_reviewed writes them; pictures that DATA_DIR holds are "
            "left out",
        )
        parser.add_argument(
            "--other-pictures",
            type=Path,
            metavar="DIR",
            help="pictures that are not chest X-rays, as KIND/files, to fit the gate; without them the model has "
            "no gate",
        )
        parser.add_argument(
            "--other-chests",
            type=Path,
            metavar="DIR",
            help="chest X-rays of other hospitals, without labels, for the gate and for a student",
        )
        parser.add_argument(
            "--output", type=Path, metavar="DIR", help="folder for the new model (default: the setting MODELS_DIR)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        names = (
            "epochs",
            "small_epochs",
            "batch_size",
            "learning_rate",
            "size",
            "validation_share",
            "frozen_blocks",
            "seed",
        )
        settings = {name: options[name] for name in names if options[name] is not None}
        if options["from_scratch"]:
            settings |= {"pretrained": False, "frozen_blocks": 0}
        if options["teacher"] and options["small_epochs"] is not None:
            raise CommandError("A student has no small trunk: leave out --small-epochs, or --teacher.")
        data_dir, root = options["data_dir"], options["output"]
        try:
            folder, current = workshop.train(
                data_dir,
                root=root,
                extra=options["extra"],
                other_pictures=options["other_pictures"],
                other_chests=options["other_chests"],
                teacher=options["teacher"],
                verbose=1 if self.stdout.isatty() else 2,
                **settings,
            )
        except (workshop.DataError, workshop.Unavailable, ValueError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(self.style.SUCCESS(f"The new model is {folder}"))
        model = folder if root else folder.name
        self.stdout.write(f"Measure it with: python manage.py evaluate_model {data_dir / 'test'} --model {model}")
        if root:
            self.stdout.write(f"Serve it by setting MODEL_BUNDLE={folder}")
        elif current:
            self.stdout.write("It is served now, because no other model could be.")
        else:
            self.stdout.write(f"If it is not worse, serve it with: python manage.py promote_model {model}")
