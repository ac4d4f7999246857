"""Fixtures of tests about readings, and about the upload page."""

from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Page

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
            owner=alice,
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


@pytest.fixture
def pictures(tmp_path: Path, xray) -> list[Path]:
    paths = []
    for seed, name in enumerate(("first.jpg", "second.jpg", "third.jpg")):
        paths.append(tmp_path / name)
        paths[-1].write_bytes(xray(seed=seed, opacity=seed % 2, size=(320, 280)))
    return paths


@pytest.fixture
def upload_page(page: Page, live_server) -> Page:
    page.goto(live_server.url)
    return page
