"""`manage.py promote_model VERSION`, `manage.py promote_model --back`"""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from diagnosis.inference import workshop
from diagnosis.management import base


class Command(base.Command):
    help = (
        "Serve a model, if it is not worse on the test split than the one served now. Both must have been "
        "measured there by evaluate_model. Running servers switch by themselves."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("version", nargs="?", metavar="VERSION", help="a version that list_models shows")
        which.add_argument(
            "--back",
            action="store_true",
            help="serve the previous model again, without a comparison; repeat to go back further",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            done = workshop.promote_back() if options["back"] else workshop.promote(options["version"])
        except workshop.PromotionRefused as error:
            raise CommandError(str(error)) from error
        say = self.stdout.write
        for difference in done.differences:
            say(
                f"{difference.name:<26} {difference.newcomer:.4f} after {difference.served:.4f}, "
                f"difference {difference.newcomer - difference.served:+.4f}, at least {difference.low:+.4f}"
            )
        if done.differences:
            say(f"on {done.pictures} pictures of the test split; 'at least' holds with 95 % certainty, by patients")
        elif not options["back"]:
            say("Nothing was compared, because no model could be served.")
        say(self.style.SUCCESS(f"{done.version} is served from now on; before: {done.before or 'none'}."))
        if done.gate_lost:
            say("Note that it has no gate: it answers to any picture.")
        if settings.MODEL_BUNDLE:
            say(f"But the setting MODEL_BUNDLE={settings.MODEL_BUNDLE} decides what is served until it is removed.")
        elif done.before and not options["back"]:
            say("Undo this with: python manage.py promote_model --back")
