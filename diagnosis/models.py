"""What is stored: uploads, predictions, readings, audit log, API tokens. The database refuses impossible rows."""

import uuid
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from knox.models import AbstractAuthToken

from diagnosis.append_only import AppendOnly
from diagnosis.inference import serving
from diagnosis.tokens import ApiTokenManager


def stored_file(instance: models.Model, name: str) -> str:
    """Where a file of `instance` is stored: under the row's own key, never under the client's name."""
    return f"{instance._meta.model_name}s/{str(instance.pk)[:2]}/{instance.pk}/{name}"


_OF_OWNER, _OF_VISITOR = Q(owner__isnull=False), Q(visitor__isnull=False)
_ONE_SENDER = Q(owner__isnull=False, visitor__isnull=True) | Q(owner__isnull=True, visitor__isnull=False)


class Upload(models.Model):
    """A picture that somebody sent: one row for each time it was sent. The file is kept without its metadata."""

    class Format(models.TextChoices):
        JPEG = "JPEG", "JPEG"
        PNG = "PNG", "PNG"
        TIFF = "TIFF", "TIFF"
        BMP = "BMP", "BMP"
        WEBP = "WEBP", "WebP"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    file = models.FileField(_("file"), upload_to=stored_file)
    thumbnail = models.FileField(_("thumbnail"), upload_to=stored_file)
    sha256 = models.CharField("SHA-256", max_length=64, help_text=_("Of the file as it was sent, in hexadecimal."))
    original_name = models.CharField(_("file name"), max_length=255, help_text=_("As the sender called it."))
    size = models.PositiveBigIntegerField(_("size"), help_text=_("Bytes, as it was sent."))
    width = models.PositiveIntegerField(_("width"), help_text=_("Pixels, upright."))
    height = models.PositiveIntegerField(_("height"), help_text=_("Pixels, upright."))
    format = models.CharField(_("format"), max_length=8, choices=Format)
    # PROTECT: a person's records must not be deleted with the account by accident.
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="uploads", verbose_name=_("owner")
    )
    visitor = models.UUIDField(
        _("visitor"), null=True, blank=True, help_text=_("Key of an anonymous visitor, kept in their session.")
    )
    idempotency_key = models.CharField(
        _("idempotency key"),
        max_length=255,
        blank=True,
        help_text=_("A request sent again under the same key gets the first one's answer."),
    )
    request_digest = models.CharField(
        _("request digest"), max_length=64, blank=True, help_text=_("Of what was asked for under the idempotency key.")
    )
    created = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("upload")
        verbose_name_plural = _("uploads")
        indexes = [
            # "Has this person sent the same picture before?"
            models.Index(fields=["owner", "sha256"], condition=_OF_OWNER, name="upload_of_owner"),
            models.Index(fields=["visitor", "sha256"], condition=_OF_VISITOR, name="upload_of_visitor"),
            # "Did another version of the model answer this picture differently?"
            models.Index(fields=["sha256"], name="upload_of_picture"),
            models.Index(fields=["original_name"], name="upload_by_name"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "idempotency_key"],
                condition=_OF_OWNER & ~Q(idempotency_key=""),
                name="upload_idempotency_key_of_owner",
            ),
            models.UniqueConstraint(
                fields=["visitor", "idempotency_key"],
                condition=_OF_VISITOR & ~Q(idempotency_key=""),
                name="upload_idempotency_key_of_visitor",
            ),
            models.CheckConstraint(condition=_ONE_SENDER, name="upload_has_one_sender"),
            models.CheckConstraint(condition=Q(sha256__regex=r"^[0-9a-f]{64}$"), name="upload_sha256_is_hex"),
            models.CheckConstraint(condition=Q(size__gt=0, width__gt=0, height__gt=0), name="upload_is_not_empty"),
            models.CheckConstraint(
                condition=Q(format__in=["JPEG", "PNG", "TIFF", "BMP", "WEBP"]), name="upload_format_is_known"
            ),
            models.CheckConstraint(condition=~Q(file="") & ~Q(thumbnail=""), name="upload_has_its_files"),
        ]

    def __str__(self) -> str:
        return self.original_name


class Hint(models.TextChoices):
    """What may be wrong with a picture: a code for programs and a sentence for people. See ml_model.quality."""

    INVERTED = "inverted", _("The picture is a negative. It was turned before the analysis.")
    TOO_DARK = "too_dark", _("The picture is very dark. Export it again with a brighter window.")
    TOO_BRIGHT = "too_bright", _("The picture is very bright. Export it again with a darker window.")
    LOW_CONTRAST = "low_contrast", _("The picture has little contrast. Export it again with a narrower window.")
    LOW_RESOLUTION = (
        "low_resolution",
        _("The picture has few pixels, and fine detail is lost. Send it at its full size."),
    )
    BORDERS = "borders", _("Wide bars lie at the edge of the picture, so the chest is small in it. Crop them away.")
    CUT_OFF = "cut_off", _("The chest may not be whole or not be upright. Send the whole frontal picture.")


@dataclass(frozen=True)
class OperatingPoint:
    """A named threshold, 0..1, and whether it is the one that decided."""

    name: str
    threshold: float
    decided: bool

    @property
    def title(self) -> str:
        return str(OPERATING_POINTS.get(self.name, self.name))


class Prediction(models.Model):
    """What one version of the network said of one upload. Never changed afterwards, except for its owner.

    A picture that the gate refused has a row too, `rejected`, without an answer. If the person asks for the analysis
    anyway, it is another row, `forced`, of the same upload.
    """

    class Status(models.TextChoices):
        OK = "ok", _("analysed")
        REJECTED = "rejected", _("no frontal chest X-ray")
        FORCED = "forced", _("analysed though no frontal chest X-ray")

    class Label(models.TextChoices):
        NORMAL = serving.NORMAL, _("Normal")
        PNEUMONIA = serving.PNEUMONIA, _("Pneumonia")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    upload = models.ForeignKey(Upload, models.CASCADE, related_name="predictions", verbose_name=_("upload"))
    # A copy of the upload's owner, changed with it: no index over two tables could find somebody's newest rows.
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.DO_NOTHING, null=True, db_index=False, related_name="+")
    visitor = models.UUIDField(null=True)
    status = models.CharField(_("status"), max_length=16, choices=Status, default=Status.OK)
    label = models.CharField(_("answer"), max_length=16, choices=Label, blank=True)
    probability = models.FloatField(_("probability"), null=True, help_text=_("Of pneumonia, 0 to 1."))
    threshold = models.FloatField(_("threshold"), help_text=_("Pneumonia is answered from this probability upward."))
    uncertain = models.BooleanField(
        _("uncertain"),
        default=False,
        help_text=_("The probability lies between the thresholds of the operating points."),
    )
    operating_point = models.CharField(_("operating point"), max_length=32)
    thresholds = models.JSONField(
        _("thresholds"),
        default=dict,
        blank=True,
        help_text=_("Of every operating point of the model, by name; empty where they were not kept yet."),
    )
    chest_xray_score = models.FloatField(
        _("chest X-ray score"),
        null=True,
        help_text=_("How much the picture is like a frontal chest X-ray, 0 to 1; empty where the model has no gate."),
    )
    inverted = models.BooleanField(
        _("inverted"), default=False, help_text=_("The picture was a negative and was turned before the analysis.")
    )
    quality = models.JSONField(
        _("picture quality"), default=list, blank=True, help_text=_("Codes of what may be wrong with the picture.")
    )
    model_version = models.CharField(_("model version"), max_length=64)
    heatmap = models.FileField(_("heatmap"), upload_to=stored_file, blank=True)
    milliseconds = models.FloatField(_("duration"), help_text=_("Decoding and network, in milliseconds."))
    created = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("prediction")
        verbose_name_plural = _("predictions")
        ordering = ["-created", "-id"]
        indexes = [
            models.Index(fields=["-created", "-id"], name="prediction_newest"),
            models.Index(fields=["-created", "-id"], condition=Q(uncertain=True), name="prediction_uncertain"),
            # One person's rows, also by answer or version. Partial, so that SQLite prefers them.
            models.Index(fields=["owner", "-created", "-id"], condition=_OF_OWNER, name="prediction_of_owner"),
            models.Index(fields=["visitor", "-created", "-id"], condition=_OF_VISITOR, name="prediction_of_visitor"),
            models.Index(fields=["owner", "probability", "id"], condition=_OF_OWNER, name="prediction_owner_probable"),
            models.Index(
                fields=["visitor", "probability", "id"], condition=_OF_VISITOR, name="prediction_visitor_probable"
            ),
            models.Index(fields=["label", "-created", "-id"], name="prediction_newest_by_label"),
            # The worklist by model version, and which versions there are to choose from; and by probability.
            models.Index(fields=["model_version", "-created", "-id"], name="prediction_newest_by_model"),
            models.Index(fields=["probability", "id"], name="prediction_by_probability"),
            # All that the dashboard counts, so that it reads this index alone.
            models.Index(
                fields=["created", "status", "label", "uncertain", "model_version", "probability"],
                name="prediction_counted",
            ),
        ]
        constraints = [
            models.CheckConstraint(condition=_ONE_SENDER, name="prediction_has_one_sender"),
            models.CheckConstraint(condition=Q(probability__range=(0, 1)), name="prediction_probability_in_0_1"),
            models.CheckConstraint(condition=Q(threshold__gt=0, threshold__lt=1), name="prediction_threshold_in_0_1"),
            models.CheckConstraint(
                condition=Q(chest_xray_score__range=(0, 1)), name="prediction_chest_xray_score_in_0_1"
            ),
            models.CheckConstraint(
                # A comparison with NULL is unknown, which a constraint lets pass, so NULL is excluded explicitly.
                condition=Q(status="rejected", label="", probability__isnull=True, heatmap="")
                | Q(status__in=["ok", "forced"], probability__isnull=False)
                & (
                    Q(label=serving.PNEUMONIA, probability__gte=F("threshold"))
                    | Q(label=serving.NORMAL, probability__lt=F("threshold"))
                ),
                name="prediction_label_follows_threshold",
            ),
            models.CheckConstraint(condition=Q(milliseconds__gte=0), name="prediction_duration_not_negative"),
            models.CheckConstraint(condition=Q(status="rejected") | ~Q(heatmap=""), name="prediction_has_its_heatmap"),
        ]

    def __str__(self) -> str:
        # Isolated, because in Arabic a name that begins with digits would otherwise be shown out of order.
        name = f"\N{FIRST STRONG ISOLATE}{self.upload.original_name}\N{POP DIRECTIONAL ISOLATE}"
        return f"{self.get_label_display() or self.get_status_display()}: {name}"

    def get_absolute_url(self) -> str:
        return reverse("diagnosis:prediction", args=[self.pk])

    @property
    def is_rejected(self) -> bool:
        return self.status == self.Status.REJECTED

    @property
    def is_forced(self) -> bool:
        return self.status == self.Status.FORCED

    @property
    def answer(self) -> str:
        """The label in words, and whether it is unreliable; empty where there is none."""
        label = str(self.get_label_display())
        return f"{label} ({_('unreliable')})" if self.is_forced else label

    @property
    def is_pneumonia(self) -> bool:
        return self.label == self.Label.PNEUMONIA

    @property
    def probability_percent(self) -> float | None:
        return None if self.probability is None else 100 * self.probability

    @property
    def threshold_percent(self) -> float:
        return 100 * self.threshold

    @property
    def operating_points(self) -> list["OperatingPoint"]:
        """Those of the model that answered, lowest threshold first; old rows know only the one that decided."""
        return sorted(
            (
                OperatingPoint(name, threshold, name == self.operating_point)
                for name, threshold in (self.thresholds or {self.operating_point: self.threshold}).items()
            ),
            key=lambda point: point.threshold,
        )

    @property
    def decided_at(self) -> "OperatingPoint":
        """The operating point whose threshold gave the label."""
        return OperatingPoint(self.operating_point, self.threshold, True)

    @property
    def hints(self) -> list["Hint"]:
        """What may be wrong with the picture."""
        codes = [*([Hint.INVERTED] if self.inverted else []), *self.quality]
        return [Hint(code) for code in codes if code in Hint.values]

    @property
    def measured(self) -> dict[str, Any] | None:
        """How often this model is right at this operating point; see serving.measured."""
        return serving.measured(self.model_version, self.operating_point)

    @property
    def certainty(self) -> str:
        """In words, how far the probability lies from the threshold, as a share of the way to 0 or 1.

        Nothing is certain of a picture that the gate refused, however far away it lies.
        """
        if self.probability is None or self.is_forced:
            return ""
        if self.uncertain:
            return str(UNCERTAIN)
        if self.is_pneumonia:
            share, words = (self.probability - self.threshold) / (1 - self.threshold), ABOVE
        else:
            share, words = (self.threshold - self.probability) / self.threshold, BELOW
        return str(words[0] if share < 0.25 else words[1] if share < 0.75 else words[2])


class AuditEvent(AppendOnly):
    """Who did what to which prediction, and when. It outlives the account and the prediction, so it refers by name."""

    class Action(models.TextChoices):
        MADE = "made", _("made")
        VIEWED = "viewed", _("viewed")
        REVIEWED = "reviewed", _("reviewed")
        EXPORTED = "exported", _("exported")
        DELETED = "deleted", _("deleted")

    created = models.DateTimeField(_("when"), auto_now_add=True)
    actor = models.CharField(_("who"), max_length=170, help_text=_("A user's name, a visitor's key, or a command."))
    action = models.CharField(_("did"), max_length=16, choices=Action)
    prediction = models.UUIDField(
        _("prediction"), null=True, db_index=True, help_text=_("Empty where it was many at once.")
    )
    detail = models.CharField(_("detail"), max_length=255, blank=True)

    class Meta:
        verbose_name = _("audit event")
        verbose_name_plural = _("audit events")
        ordering = ["-id"]
        indexes = [models.Index(fields=["actor", "-id"], name="audit_event_of_actor")]

    def __str__(self) -> str:
        return f"{self.actor} {self.get_action_display()} {self.prediction or self.detail}"


class Review(AppendOnly):
    """A person's own reading of a picture that the network answered. The prediction stays as it is.

    A later reading supersedes the earlier ones, its own writer's and others': the latest is the reading
    of the prediction. All of them stay, and go only together with the upload.
    """

    class Reading(models.TextChoices):
        PNEUMONIA = serving.PNEUMONIA, _("Pneumonia")
        NORMAL = serving.NORMAL, _("Normal")
        UNREADABLE = "Unreadable", _("Unreadable")

    prediction = models.ForeignKey(
        Prediction, models.CASCADE, related_name="reviews", verbose_name=_("prediction"), editable=False
    )
    reviewer = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="reviews", verbose_name=_("reviewer"), editable=False
    )
    reading = models.CharField(_("reading"), max_length=16, choices=Reading)
    note = models.TextField(_("note"), max_length=2000, blank=True)
    blind = models.BooleanField(
        _("blind"), default=False, help_text=_("Read before the model's answer and heatmap were looked at.")
    )
    created = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("review")
        verbose_name_plural = _("reviews")
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["prediction", "-id"], name="review_latest"),
            models.Index(fields=["reviewer", "prediction", "-id"], name="review_latest_of_reviewer"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(reading__in=[serving.PNEUMONIA, serving.NORMAL, "Unreadable"]),
                name="review_reading_is_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_reading_display()}, {self.reviewer}"

    @property
    def differs(self) -> bool:
        """Whether it says the opposite of what the model answered, which "unreadable" does not."""
        return self.reading not in (self.prediction.label, self.Reading.UNREADABLE)


class ApiToken(AbstractAuthToken):
    """What a program logs in with instead of a password. Only its digest is kept."""

    name: models.CharField = models.CharField(_("name"), max_length=80, help_text=_("What the token is for."))

    objects = ApiTokenManager()

    class Meta:
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")
        ordering = ["-created"]

    def __str__(self) -> str:
        return self.name


OPERATING_POINTS = {"balanced": _("Balanced"), "screening": _("Screening")}
UNCERTAIN = _("uncertain: the operating points disagree")
ABOVE = _("just above the threshold"), _("above the threshold"), _("far above the threshold")
BELOW = _("just below the threshold"), _("below the threshold"), _("far below the threshold")
