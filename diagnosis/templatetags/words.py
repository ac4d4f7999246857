"""Translates names and sentences that code, model cards and the database keep in English."""

import re

from django import template
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_noop as _

from diagnosis.models import OPERATING_POINTS

register = template.Library()


@register.filter
def named(name: str) -> str:
    """`name` as people read it; as it is, with spaces, where it is no operating point and none of those below."""
    if name in OPERATING_POINTS:
        return str(OPERATING_POINTS[name])
    words = str(name).replace("_", " ")
    return gettext(words) if words else ""


_EXPORT = re.compile(r"(\d+) predictions as (\w+); (.*)", re.DOTALL)
_OWN_DATA = re.compile(r"all that is theirs: (\d+) predictions")
_FOR_TRAINING = re.compile(r"(\d+) reviewed pictures for training")


def logged(detail: str) -> str:
    """What the log tells of an event: an export with its number, filters as they were; anything else part by part, and
    as it was written where that is none of those below."""
    if told := _EXPORT.fullmatch(detail):
        count, filters = int(told[1]), gettext("all") if told[3] == "all" else told[3]
        said = ngettext("%(count)d prediction as %(format)s", "%(count)d predictions as %(format)s", count)
        return f"{said % {'count': count, 'format': told[2].upper()}}; {filters}"
    if told := _OWN_DATA.fullmatch(detail):
        count = int(told[1])
        said = ngettext("all that is theirs: %(count)d prediction", "all that is theirs: %(count)d predictions", count)
        return said % {"count": count}
    if told := _FOR_TRAINING.fullmatch(detail):
        count = int(told[1])
        said = ngettext("%(count)d reviewed picture for training", "%(count)d reviewed pictures for training", count)
        return said % {"count": count}
    return ", ".join(gettext(part) if part else "" for part in detail.split(", "))


# Here only so that translators find them. Roles and sets of pictures:
_("uploader"), _("reviewer"), _("administrator")
_("test"), _("validation"), _("other chest X-rays")
# what was looked at, as the log tells,
_("result"), _("picture"), _("heatmap"), _("report"), _("compared"), _("while reviewing")
# what was done to pictures,
_("contrast x 0.6"), _("contrast x 1.5"), _("gamma 0.6"), _("gamma 1.7"), _("brightness - 40"), _("brightness + 40")
_("blur"), _("noise"), _("JPEG 30"), _("black border"), _("white border"), _("phone photo"), _("crop 10 %")
_("rotation 7°"), _("inverted")
# kinds of pictures that the gate refuses,
_("document receipt"), _("mri brain"), _("photo"), _("photo or texture"), _("screenshot or graphic"), _("synthetic")
_("xray dental panoramic"), _("xray hand")
# what Django and import-export say in the admin and have no Arabic for,
_("This exporter will export the following fields: "), _("Reset password"), _("Set password")
_("Password-based authentication"), _("Enabled"), _("Disabled")
_(
    "Whether the user will be able to authenticate using a password or not. If disabled, they may still be able to "
    "authenticate using other backends, such as Single Sign-On or LDAP."
)
_("Raw passwords are not stored, so there is no way to see the user’s password.")  # noqa: RUF001
# and what the released model's card says.
_(
    "Education and research. Not for clinical use without validation. Frontal chest X-rays; learned from children "
    "of one to five years of one hospital, so figures hold for such pictures only."
)
_(
    "Education and research. Not for clinical use without validation. Frontal chest X-rays; learned from people "
    "of whom nothing is told here, so figures hold for pictures like those they were measured on only."
)
_("Chest X-Ray Images (Pneumonia), official train split")
_("children of one to five years, Guangzhou Women and Children's Medical Center")
