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
    help = (
        "Classify picture files and all files in folders. Nothing is stored. A file that cannot be analysed gets "
        "a row with its error."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "paths",
            nargs="+",
            type=Path,
            metavar="PATH",
            help="a file, or a folder with its subfolders (links to folders are not followed)",
        )
        parser.add_argument(
            "--format", choices=list(answers.FORMATS), help="default: by the extension of FILE, otherwise table"
        )
        parser.add_argument(
            "--output",
            type=Path,
            metavar="FILE",
            help="write to FILE instead of the terminal. An existing csv or json FILE is resumed: files that "
            "already have a row, even one with an error, are skipped, provided names and order are the same",
        )
        parser.add_argument(
            "--jobs", type=int, default=bulk.cores(), metavar="N", help="pictures at a time (default: %(default)s)"
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
        except answers.NotResumed as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{output or 'The output'} cannot be written: {error.strerror}") from error
        except KeyboardInterrupt:
            resume = f"Stopped. Run the same command again to resume {output}."
            raise CommandError(resume if output and layout.done else "Stopped.", returncode=130) from None

    def _write(self, paths: list[Path], layout: answers.Format, output: Path | None, jobs: int) -> None:
        if next(bulk.files(paths, leave_out=output), None) is None:
            self.stderr.write(f"There are no files in {', '.join(map(str, paths))}.")
        files = bulk.files(paths, leave_out=output)
        done = answers.resume(output, layout, files, serving.model_version()) if output else 0
        if done:
            self.stderr.write(f"{output} already has {done} rows; resuming after them.")
        # The bar goes to stderr and shows only on a terminal, so output can be piped.
        total = sum(1 for _ in bulk.files(paths, leave_out=output)) if sys.stderr.isatty() else None
        # Line by line, so that little is lost to a crash, and `tail -f` shows how far it is.
        target = output.open("a", encoding="utf-8", newline="", buffering=1) if output else nullcontext(self.stdout)
        with target as file, closing(bulk.classify(files, jobs=jobs)) as rows:
            shown = tqdm(rows, total=total, initial=done, unit=" pictures", disable=None, leave=False)
            for text in layout.text(shown, after=done):
                file.write(text)
