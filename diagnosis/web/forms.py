"""The upload form: one or many files under one name."""

from typing import Any

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext_lazy as _

from diagnosis.inference import serving


class ManyFiles(forms.ClearableFileInput):
    allow_multiple_selected = True


class FilesField(forms.FileField):
    """Cleans to a list of files. Whether each is a picture is not judged here."""

    widget = ManyFiles

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile]:
        if not data:
            raise forms.ValidationError(self.error_messages["required"], code="required")
        if len(data) > settings.MAX_FILES_PER_REQUEST:
            raise forms.ValidationError(
                _("You chose %(chosen)d files; at most %(most)d can be sent at once."),
                code="too_many",
                params={"chosen": len(data), "most": settings.MAX_FILES_PER_REQUEST},
            )
        return list(data)


class UploadForm(forms.Form):
    file = FilesField(error_messages={"required": _("Choose at least one X-ray picture first.")})
    operating_point = forms.ChoiceField(
        choices=lambda: [(name, name) for name in serving.operating_points()], required=False
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not serving.operating_points():  # No model is served, which is what the answer will be.
            self.fields["operating_point"] = forms.CharField(required=False)
