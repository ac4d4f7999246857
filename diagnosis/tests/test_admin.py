"""The admin: everything to see, nothing to alter."""

import importlib
import re

import pytest
from django.apps import apps
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from diagnosis import access, audit, own_data, reviews, services
from diagnosis.models import AuditEvent, Prediction, Review, Upload

pytestmark = pytest.mark.django_db
LIST = "/admin/diagnosis/prediction/"


@pytest.fixture
def predictions(xray, alice) -> list[Prediction]:
    client = Client()
    client.force_login(alice)
    for name in ("first.jpg", "second.jpg"):
        client.post("/predict", {"file": SimpleUploadedFile(name, xray())})
    Client().post("/predict", {"file": SimpleUploadedFile("visitor.jpg", xray())})
    return list(Prediction.objects.order_by("created"))


@pytest.fixture
def staff(client, bob) -> Client:
    client.force_login(bob)
    return client


def test_the_list_shows_thumbnails_and_owners(staff, predictions):
    page = staff.get(LIST).content.decode()
    for prediction in predictions:
        assert f"/predictions/{prediction.pk}/thumbnail.jpg" in page
    assert "alice" in page
    assert "visitor" in page
    assert "By answer" in page
    assert "Label" not in page, "a word of programs"


def test_the_list_is_searched_and_filtered(staff, predictions):
    def found(query: str) -> set[str]:
        return {p.upload.original_name for p in staff.get(f"{LIST}?{query}").context["cl"].queryset}

    everything = {"first.jpg", "second.jpg", "visitor.jpg"}
    assert found("q=second") == {"second.jpg"}
    assert found("q=alice") == {"first.jpg", "second.jpg"}
    assert found(f"q={predictions[0].upload.sha256}") == everything
    assert found(f"q={predictions[0].pk}") == {"first.jpg"}
    assert staff.get(f"{LIST}?q=%00").status_code == 200
    assert found(f"label__exact={predictions[0].label}") == everything
    assert found(f"model_version={predictions[0].model_version}") == everything
    assert found(f"upload__owner__id__exact={predictions[0].upload.owner_id}") == {"first.jpg", "second.jpg"}


def test_the_detail_page_shows_pictures_and_has_nothing_to_edit(staff, predictions):
    prediction = predictions[0]
    page = staff.get(f"{LIST}{prediction.pk}/change/").content.decode()
    assert f"/predictions/{prediction.pk}/xray" in page
    assert f"/predictions/{prediction.pk}/heatmap.png" in page
    assert 'name="_save"' not in page
    response = staff.post(f"{LIST}{prediction.pk}/change/", {"label": "Normal", "probability": "0"})
    assert response.status_code == 403
    assert staff.get(f"{LIST}add/").status_code == 403


@pytest.mark.django_db(transaction=True)
def test_an_administrator_deletes_the_upload_and_its_files(staff, client, ada, predictions):
    assert staff.post(f"{LIST}{predictions[0].pk}/delete/", {"post": "yes"}).status_code == 403
    client.force_login(ada)
    keep, one, other = predictions
    files = one.upload.file, one.upload.thumbnail, one.heatmap
    assert client.post(f"{LIST}{one.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not any(file.storage.exists(file.name) for file in files)
    chosen = {"action": "delete_selected", "_selected_action": [str(other.pk)], "post": "yes"}
    assert client.post(LIST, chosen).status_code == 302
    assert list(Upload.objects.all()) == [keep.upload]


@pytest.mark.parametrize("who", ["ada", "admin_user"])
def test_what_was_read_can_be_deleted_and_its_readings_go_along(client, bob, predictions, who, request):
    client.force_login(request.getfixturevalue(who))
    keep, one, other = predictions
    for prediction in predictions:
        reviews.record(prediction, by=access.Person(user=bob), reading="Normal")
    assert "Normal, bob" in client.get(f"{LIST}{one.pk}/delete/").content.decode()
    assert client.post(f"{LIST}{one.pk}/delete/", {"post": "yes"}).status_code == 302
    chosen = {"action": "delete_selected", "_selected_action": [str(other.pk)], "post": "yes"}
    assert client.post(LIST, chosen).status_code == 302
    assert Review.objects.get().prediction == keep
    assert client.post(f"/admin/diagnosis/review/{Review.objects.get().pk}/delete/", {"post": "yes"}).status_code == 403


def test_the_confirmation_page_lists_all_that_goes_with_the_upload(client, ada, no_xray):
    client.force_login(ada)
    client.post("/predict", {"file": SimpleUploadedFile("dog.png", no_xray)})
    rejected = Prediction.objects.get()
    services.analyse_all_the_same(rejected, by=access.Person(user=ada))
    page = client.get(f"{LIST}{rejected.pk}/delete/")
    chosen = {"action": "delete_selected", "_selected_action": [str(rejected.pk)]}
    for asked in (page, client.post(LIST, chosen)):
        assert all(
            f"{LIST}{prediction.pk}/change/" in asked.content.decode() for prediction in Prediction.objects.all()
        )
        assert dict(asked.context["model_count"])["predictions"] == 2


def test_no_history_keeps_the_file_name_of_what_was_deleted(client, ada, predictions):
    client.force_login(ada)
    _keep, one, other = predictions
    assert client.post(f"{LIST}{one.pk}/delete/", {"post": "yes"}, follow=True).status_code == 200
    chosen = {"action": "delete_selected", "_selected_action": [str(other.pk)], "post": "yes"}
    assert client.post(LIST, chosen, follow=True).status_code == 200
    assert not LogEntry.objects.filter(object_repr__contains=".jpg").exists()
    page = client.get("/admin/").content.decode()
    assert not [name for name in ("second.jpg", "visitor.jpg") if name in page]
    assert set(AuditEvent.objects.filter(action="deleted").values_list("prediction", flat=True)) == {one.pk, other.pk}


def test_file_names_that_the_history_kept_before_are_forgotten(ada):
    migration = importlib.import_module("diagnosis.migrations.0008_no_file_names_in_the_admins_history")
    for model in (Prediction, Upload, get_user_model()):
        LogEntry.objects.create(
            user=ada,
            content_type=ContentType.objects.get_for_model(model),
            object_id="1",
            object_repr=model.__name__,
            action_flag=DELETION,
        )
    migration.forget_file_names(apps, None)
    assert set(LogEntry.objects.values_list("object_repr", flat=True)) == {"", "User"}


@pytest.mark.parametrize(("probability", "told"), [(0.99996, "over 99.9"), (0.00001, "under 0.1")])
def test_rounding_claims_no_certainty(staff, predictions, probability, told):
    label = "Pneumonia" if probability > 0.5 else "Normal"
    figures = {"threshold": 0.38691234, "chest_xray_score": 0.99991770814}
    Prediction.objects.update(probability=probability, label=label, **figures)
    address = f"{LIST}{predictions[0].pk}/"
    shown = staff.post(f"{address}review/", {"show": "1"})
    for page in (staff.get(LIST), staff.get(f"{address}change/"), shown):
        assert f"{told}\N{NO-BREAK SPACE}%" in page.content.decode()
    page = staff.get(f"{address}change/").content.decode()
    assert "38.7\N{NO-BREAK SPACE}%" in page
    assert not [figure for figure in ("0.9999", "0.3869", "100.0") if figure in page]


def test_an_answer_to_what_the_gate_refused_is_called_unreliable(staff, predictions):
    Prediction.objects.update(status="forced", label="Pneumonia", probability=0.853)
    address = f"{LIST}{predictions[0].pk}/"
    for page in (staff.get(LIST), staff.get(f"{address}change/"), staff.post(f"{address}review/", {"show": "1"})):
        assert "unreliable" in page.content.decode()
    Prediction.objects.update(status="ok")
    assert "unreliable" not in staff.get(LIST).content.decode()


def test_what_code_keeps_in_english_is_told_in_the_readers_language(client, ada, predictions):
    client.force_login(ada)
    client.cookies["django_language"] = "ar"
    client.get(f"/predictions/{predictions[0].pk}/heatmap.png")

    def told(address: str) -> str:
        return client.get(f"/admin/{address}").content.decode()

    assert "متوازن" in told(f"diagnosis/prediction/{predictions[0].pk}/change/")
    assert "الخريطة الحرارية" in told("diagnosis/auditevent/")
    for page in (told("auth/user/"), told(f"auth/user/{ada.pk}/change/")):
        assert all(role in page for role in ("مُرسِل", "مدير"))
        assert not re.search(r">\s*(uploader|reviewer|administrator)\s*<", page)


def test_the_log_tells_of_exports_in_the_readers_language(client, ada, predictions):
    client.force_login(ada)
    client.get("/history/export.csv?label=Normal")
    client.get("/history/export.csv")
    own_data.everything_of(ada).close()
    audit.record_many("manage.py export_reviewed", audit.Action.EXPORTED, "7 reviewed pictures for training")
    client.cookies["django_language"] = "fr"
    page = client.get("/admin/diagnosis/auditevent/").content.decode()
    assert re.search(r"\d prédictions? au format CSV; label=Normal", page)
    assert re.search(r"\d prédictions? au format CSV; toutes", page)
    assert "tout ce qui lui appartient : 0 prédiction" in page
    assert "7 images lues" in page
    assert not re.search(r"predictions? as|for training|that is theirs", page)


def test_view_on_site_leads_to_the_result_and_a_key_that_is_none_to_no_page(staff, predictions):
    page = staff.get(f"{LIST}{predictions[0].pk}/change/").content.decode()
    link = re.search(r"/admin/r/\d+/[^\"]+/", page)[0]
    assert staff.get(link).url.endswith(predictions[0].get_absolute_url())
    assert staff.get(link.replace(str(predictions[0].pk), "none")).status_code == 404


def test_others_do_not_get_in(client, alice, predictions):
    assert client.get(LIST).status_code == 302
    client.force_login(alice)
    assert client.get(LIST).status_code == 302


def test_who_forgot_a_password_is_helped_at_the_admins_door_too(client):
    assert 'href="/accounts/password/reset/">Forgot your password?' in client.get("/admin/login/").content.decode()
