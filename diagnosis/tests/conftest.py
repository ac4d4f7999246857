"""Fixtures of tests about readings."""

import pytest
from django.test import Client
from django.utils import timezone

from diagnosis.models import Prediction, Upload


@pytest.fixture
def make(alice):
    """`make("a.jpg", probability=0.9, sha256="0…")`: a row as the site writes it, without its files."""

    def make(
        name: str, *, probability=0.9, uncertain=False, status="ok", version="v1", sha256=None, age=0
    ) -> Prediction:
        number = Upload.objects.count()
        upload = Upload.objects.create(
            owner=alice,
            original_name=name,
            size=1,
            width=1,
            height=1,
            format="JPEG",
            file="x",
            thumbnail="x",
            sha256=sha256 or f"{number:064x}",
        )
        rejected = status == "rejected"
        prediction = Prediction.objects.create(
            upload=upload,
            status=status,
            label="" if rejected else "Pneumonia" if probability >= 0.5 else "Normal",
            probability=None if rejected else probability,
            threshold=0.5,
            uncertain=uncertain,
            operating_point="balanced",
            model_version=version,
            heatmap="" if rejected else "x",
            milliseconds=1,
        )
        created = timezone.now() - timezone.timedelta(days=age)
        Prediction.objects.filter(pk=prediction.pk).update(created=created)
        prediction.refresh_from_db()
        return prediction

    return make


@pytest.fixture
def reviewer(client, bob) -> Client:
    client.force_login(bob)
    return client
