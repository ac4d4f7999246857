"""`manage.py predict_images PATH…`"""

import sys
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from tqdm import tqdm

from diagnosis import answers, bulk
from diagnosis.inference import serving
from diagnosis.management import base


class Command(base.Command):
    help = "Classify picture files, and all files in folders; nothing is stored. A bad file is a row with its error."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "paths",
            nargs="+",
            type=Path,
            metavar="PATH",
            help="a file, or a folder with its subfolders; links to folders are not followed",
        )
        parser.add_argument(
            "--format", choices=list(answers.FORMATS), help="by default what the ending of FILE says, or else table"
        )
        parser.add_argument(
            "--output",
            type=Path,
            metavar="FILE",
            help="write there instead of to the terminal. A csv or json FILE that is there is gone on with: the files "
            "that have a row in it, also one with an error, are left out, as long as names and order are the same",
        )
        parser.add_argument(
            "--jobs", type=int, default=bulk.cores(), metavar="N", help="pictures at a time; by default %(default)s"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        output: Path | None = options["output"]
        ending = output.suffix[1:].lower() if output else ""
        layout = answers.FORMATS[options["format"] or (ending if ending in answers.FORMATS else "table")]
        if options["jobs"] < 1:
            raise CommandError("--jobs must be at least 1.")
        try:
            serving.classifier()
        except serving.Unavailable as error:
            raise CommandError(str(error)) from error
        self.stdout.ending = ""  # lines come complete
        try:
            self._write(options["paths"], layout, output, options["jobs"])
        except BrokenPipeError:
            raise
        except answers.NotContinued as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{output or 'The output'} cannot be written: {error.strerror}") from error
        except KeyboardInterrupt:
            goes_on = f"Stopped. The same command goes on with {output}."
            raise CommandError(goes_on if output and layout.done else "Stopped.", returncode=130) from None

    def _write(self, paths: list[Path], layout: answers.Format, output: Path | None, jobs: int) -> None:
        if next(bulk.files(paths, leave_out=output), None) is None:
            self.stderr.write(f"There are no files in {', '.join(map(str, paths))}.")
        files = bulk.files(paths, leave_out=output)
        done = answers.go_on(output, layout, files, serving.model_version()) if output else 0
        if done:
            self.stderr.write(f"{output} has {done} rows already; going on after them.")
        # The bar goes to stderr and shows only on a terminal, so output can be piped.
        total = sum(1 for _ in bulk.files(paths, leave_out=output)) if sys.stderr.isatty() else None
        # Line by line, so that little is lost to a crash, and `tail -f` shows how far it is.
        target = output.open("a", encoding="utf-8", newline="", buffering=1) if output else nullcontext(self.stdout)
        with target as file, closing(bulk.classify(files, jobs=jobs)) as rows:
            shown = tqdm(rows, total=total, initial=done, unit=" pictures", disable=None, leave=False)
            for text in layout.text(shown, after=done):
                file.write(text)
