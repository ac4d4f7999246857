"""Whatever a program sends: an answer in the one shape of errors, and no error of the server's."""

import gzip
import shutil
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from diagnosis import access, services
from diagnosis.models import Upload

pytestmark = pytest.mark.django_db
JSON = "application/json"


def assert_problem(response, status: int, code: str | None = None) -> None:
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    if response.content:
        body = response.json()
        assert body["status"] == status
        assert code in (None, body["code"])
        assert body["detail"].endswith(".")


@pytest.mark.parametrize("method", ["get", "post", "put", "delete", "options"])
@pytest.mark.parametrize("address", ["/api/", "/api/nothing/", "/api/predictions/x/", "/predict/x", "/api/%FF/"])
def test_an_unknown_address(client, method, address):
    assert_problem(getattr(client, method)(address), 404, "not_found")


@pytest.mark.parametrize("address", ["/api/predictions", "/api/models", "/api/tokens"])
def test_a_forgotten_slash_is_named(client, address):
    response = client.post(address)
    assert_problem(response, 404, "not_found")
    assert "slash" in response.json()["detail"]


@pytest.mark.parametrize(
    ("method", "address"),
    [("get", "/predict"), ("put", "/predict"), ("patch", "/api/tokens/"), ("post", "/api/models/")],
)
def test_a_method_that_there_is_not(client, alice, method, address):
    client.force_login(alice)
    response = getattr(client, method)(address)
    assert_problem(response, 405, "method_not_allowed")
    assert response["Allow"]


def test_a_session_needs_the_key_of_its_forms(alice, xray):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    assert_problem(client.post("/predict", {"file": SimpleUploadedFile("x.jpg", xray())}), 403, "csrf_failed")
    response = client.post("/api/tokens/", {"name": "x"}, content_type=JSON)
    assert_problem(response, 403, "csrf_failed")
    assert "Send the cookie `csrftoken` as the header `X-CSRFToken`" in response.json()["detail"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "parse_error"),
        (b"\xff", "parse_error"),
        (b'{"name":' + b"[" * 100_000, "parse_error"),
        (b'{"name": "x", "days": NaN}', "parse_error"),
        (b"[]", "invalid"),
        (b"null", "invalid"),
        (b'{"name": "a\\u0000b"}', "invalid"),
        (b'{"name": "x", "days": 1e400}', None),
        (b'{"name": "x", "days": ' + b"9" * 5000 + b"}", None),
        (b'{"name": {"a": 1}}', "invalid"),
    ],
)
@pytest.mark.parametrize("address", ["/api/tokens/", "/api/reviews/"])
def test_json_that_is_none_or_another(client, bob, address, body, code):
    client.force_login(bob)
    assert_problem(client.post(address, body, content_type=JSON), 400, code)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"null", "Send one JSON object, with the fields in braces."),
        (b"[]", "Send one JSON object, with the fields in braces."),
        (b'{"days": ' + b"9" * 5000 + b"}", "A number of the JSON has more than 100 digits."),
    ],
)
def test_what_json_is_wanted_is_said_in_words_of_our_own(client, bob, body, said):
    client.force_login(bob)
    assert client.post("/api/tokens/", body, content_type=JSON).json()["detail"].endswith(said)


@pytest.mark.parametrize("said", ["", "Bearer", "Bearer a b", "Bearer a b c", "Basic x", "Token x"])
def test_how_to_log_in_is_said_where_no_token_came(said):
    response = Client(headers={"authorization": said}).get("/api/predictions/")
    assert_problem(response, 401, "authentication_failed")
    assert response.json()["detail"] == "Log in with `Authorization: Bearer` and a token of your account."


@pytest.mark.parametrize("said", ["", "; boundary=", "; boundary=\xff"])
def test_that_a_form_tells_no_boundary_is_said(client, said):
    response = client.generic("POST", "/predict", b"x", content_type=f"multipart/form-data{said}")
    assert_problem(response, 400, "parse_error")
    assert "`Content-Type` names no `boundary`" in response.json()["detail"]


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\xff",
        "application/x-www-form-urlencoded",
        "text/plain",
        "nonsense",
    ],
)
@pytest.mark.parametrize("address", ["/predict", "/api/predictions/"])
def test_bodies_of_another_type(client, content_type, address):
    response = client.generic("POST", address, b"--x\r\n\r\nabc", content_type=content_type)
    assert_problem(response, 400 if "multipart" in content_type else 415)


@pytest.mark.parametrize(
    "fields",
    [
        {f"field{number}": "x" for number in range(10_000)},
        {"operating_point": "x" * 3_000_000},
        {f"file{number}": SimpleUploadedFile("x.jpg", b"x") for number in range(150)},
    ],
    ids=["many fields", "a long field", "many files"],
)
def test_forms_without_measure(client, fields):
    assert_problem(client.post("/predict", fields), 400, "bad_request")
    assert_problem(client.post("/api/predictions/", fields), 400, "bad_request")


@pytest.mark.parametrize("address", ["/predict", "/api/predictions/"])
@pytest.mark.parametrize("name", ["operating-point", "unknown", "image"])
def test_a_field_that_there_is_not_is_refused_with_those_there_are(client, xray, address, name):
    value = SimpleUploadedFile("x.jpg", xray()) if name == "image" else "screening"
    response = client.post(address, {"file": SimpleUploadedFile("x.jpg", xray()), name: value})
    assert_problem(response, 400, "invalid")
    said = f"`{name}`: There is no such field. Choose from file, force, operating_point."
    assert response.json()["detail"] == said
    assert not Upload.objects.exists()


def test_what_browsers_add_to_a_form_is_let_pass_and_what_comes_twice_is_not(client, xray):
    def post(**fields):
        return client.post("/predict", {"file": SimpleUploadedFile("x.jpg", xray()), **fields})

    assert post(csrfmiddlewaretoken="x", _charset_="utf-8").status_code == 200
    assert_problem(post(operating_point=["screening", "balanced"]), 400, "invalid")


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("post", "/predict?foo=true"),
        ("post", "/api/predictions/?foo=1"),
        ("get", "/api/tokens/?foo=1"),
        ("get", "/api/models/?foo=1"),
        ("get", "/api/statistics/?foo=1"),
        ("get", "/api/predictions/?operating-point=screening"),
        ("get", "/api/predictions/?prediction=Pneumonia&prediction=Normal"),
        ("get", "/api/reviews/?search=x"),
        ("get", "/api/schema/?version=%0a"),
        ("get", "/api/schema/?version=x%22;%20filename=%22setup.exe"),
        ("get", "/api/schema/?lang=x"),
    ],
)
def test_a_parameter_that_there_is_not_or_that_comes_twice_is_named(client, alice, xray, method, address):
    client.force_login(alice)
    data = {"file": SimpleUploadedFile("x.jpg", xray())} if method == "post" else {}
    response = getattr(client, method)(address, data)
    assert_problem(response, 400, "invalid")
    assert response.json()["detail"].startswith(f"`{address.partition('?')[2].partition('=')[0]}`: ")
    assert not Upload.objects.exists()


def test_a_field_of_json_that_there_is_not_is_named(client, alice):
    client.force_login(alice)
    response = client.post("/api/tokens/", {"name": "x", "day": 1}, content_type=JSON)
    assert_problem(response, 400, "invalid")
    assert response.json()["detail"] == "`day`: There is no such field. Choose from days, name."


def test_a_field_of_json_that_comes_twice_is_named(client, bob):
    client.force_login(bob)
    response = client.post("/api/reviews/", '{"reading": "Normal", "reading": "Pneumonia"}', content_type=JSON)
    assert_problem(response, 400, "invalid")
    assert response.json()["detail"] == "`reading`: This came more than once."


def test_several_files_may_be_as_large_together_as_each_may_be(client, settings):
    settings.MAX_UPLOAD_MB, settings.MAX_FILES_PER_REQUEST = 1, 5
    options = {"content_type": "multipart/form-data; boundary=x"}
    for address, limit in {"/predict": 2, "/api/predictions/": 6, "/api/tokens/": 1, "/accounts/login/": 1}.items():
        too_much = client.post(address, b"", CONTENT_LENGTH=str(limit * 1_000_000 + 1), **options)
        assert too_much.status_code == 413, address
        assert client.post(address, b"", CONTENT_LENGTH=str(limit * 1_000_000), **options).status_code != 413, address


@pytest.mark.parametrize(
    "query",
    [
        "search=%00",
        "search=" + "a%20" * 2000,
        "created_after=0001-01-01T00:00:00%2B14:00",
        "created_before=9999-12-31T23:59:59-14:00",
        "%FF=%FE",
        "cursor=%00",
        "ordering=" + "x" * 4000,
    ],
)
def test_queries_without_sense(client, query):
    assert_problem(client.get(f"/api/predictions/?{query}"), 404 if "cursor" in query else 400)


@pytest.mark.parametrize("key", ["x" * 201, "x" * 5000, "a\tb", "\x7f", "\xfc"])
def test_an_idempotency_key_that_cannot_be_kept(client, xray, key):
    data = {"file": SimpleUploadedFile("x.jpg", xray())}
    response = client.post("/predict", data, headers={"idempotency-key": key})
    assert_problem(response, 400, "invalid")
    assert response.json()["detail"].startswith("`Idempotency-Key`: At most 200 printable")


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\x.jpg", "x.jpg"),
        ("a\x01\x1b[31mb.jpg", "a[31mb.jpg"),
        ("a\u202egpj.exe", "agpj.exe"),
        ("x" * 400 + ".jpg", "x" * 251 + ".jpg"),
        ("<img src=x onerror=alert(1)>.jpg", "<img src=x onerror=alert(1)>.jpg"),
        ("   ", "unnamed"),
    ],
)
def test_a_file_name_is_a_label_and_no_path(client, xray, name, kept):
    head = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    response = client.post("/predict", head + xray() + b"\r\n--x--", content_type="multipart/form-data; boundary=x")
    assert response.json()["file_name"] == kept
    page = client.get(response.json()["url"]).content.decode()
    assert "<img src=x" not in page
    assert Upload.objects.get(original_name=kept).file.name.endswith("/xray.jpg")


def test_pictures_are_served_as_what_they_are_and_nothing_else(client, xray):
    polyglot = xray() + b"<html><script>alert(1)</script>PK\x03\x04"
    made = client.post("/predict", {"file": SimpleUploadedFile("x.html", polyglot, "text/html")}).json()
    for address, kind in {
        made["xray_url"]: "image/jpeg",
        made["heatmap_url"]: "image/png",
        f"/api/predictions/{made['id']}/original/": "image/jpeg",
    }.items():
        response = client.get(address, headers={"accept": kind})
        content = b"".join(response) if response.streaming else response.content
        assert response["Content-Type"] == kind
        assert response["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'self'" in response["Content-Security-Policy"]
        assert "private" in response["Cache-Control"]
        assert {"Authorization", "Cookie"} <= set(response["Vary"].split(", "))
        assert b"<script" not in content
        again = client.get(address, headers={"if-none-match": response["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert client.head(address)["ETag"] == response["ETag"]


def test_what_another_request_deletes_at_the_same_time_is_not_found(client, xray, monkeypatch):
    key = client.post("/predict", {"file": SimpleUploadedFile("x.jpg", xray())}).json()["id"]
    deletable_by = access.deletable_by

    def quicker(person):
        Upload.objects.all().delete()
        return deletable_by(person)

    monkeypatch.setattr("diagnosis.access.deletable_by", quicker)
    assert_problem(client.delete(f"/api/predictions/{key}/"), 404, "not_found")


def test_what_cannot_be_analysed_again_since_its_file_is_gone_is_not_found(client, no_xray, settings):
    refused = client.post("/predict", {"file": SimpleUploadedFile("board.png", no_xray)}).json()
    shutil.rmtree(settings.MEDIA_ROOT)
    assert client.post(refused["url"] + "all-the-same").status_code == 404


def test_a_picture_that_is_not_the_one_named_or_whose_file_is_gone(client, xray, settings, caplog):
    made = client.post("/predict", {"file": SimpleUploadedFile("x.jpg", xray())}).json()
    programs = [f"/api/predictions/{made['id']}/{picture}/" for picture in ("heatmap", "original")]
    pages = [made["heatmap_url"], made["xray_url"], made["url"] + "thumbnail.jpg"]
    for address in [*programs, *pages]:
        response = client.get(address, headers={"if-match": '"x"'})
        assert response.status_code == 412
        assert response["Cache-Control"] == "private, no-store"
        if address in programs:
            assert_problem(response, 412, "precondition_failed")
        dated = client.get(address, headers={"if-unmodified-since": "Thu, 26 Nov 2026 12:00:00 GMT"})
        assert dated.status_code == 200, "pictures have no date"
    shutil.rmtree(settings.MEDIA_ROOT)
    for address in programs:
        response = client.get(address)
        assert_problem(response, 404, "not_found")
        assert "missing on the server" in response.json()["detail"]
    assert [client.get(address).status_code for address in [*pages, made["url"] + "report.pdf"]] == [404] * 4
    assert sum(record.levelname == "ERROR" for record in caplog.records) == 6


@pytest.mark.parametrize("address", ["/predict", "/api/reviews/"])
def test_a_compressed_body_is_refused_in_words(client, address):
    body = gzip.compress(b'{"prediction": "x"}')
    response = client.post(address, body, content_type=JSON, headers={"content-encoding": "gzip"})
    assert_problem(response, 415, "unsupported_media_type")
    assert "without `Content-Encoding`" in response.json()["detail"]
    assert client.get("/", headers={"content-encoding": "gzip"}).status_code == 200


@pytest.mark.parametrize(
    ("address", "choices"),
    [
        ("/api/predictions/?prediction=normal", "Normal, Pneumonia"),
        ("/api/predictions/?status=normal", "ok, rejected, forced"),
        ("/api/reviews/?reading=normal", "Pneumonia, Normal, Unreadable"),
    ],
)
def test_a_choice_that_there_is_not_is_refused_with_those_there_are(client, address, choices):
    response = client.get(address)
    assert_problem(response, 400, "invalid")
    assert response.json()["detail"].endswith(f": Choose from {choices}.")


def test_a_reading_that_there_is_not_is_refused_with_those_there_are(client, bob):
    client.force_login(bob)
    response = client.post("/api/reviews/", {"prediction": str(uuid4()), "reading": "normal"}, content_type=JSON)
    assert_problem(response, 400, "invalid")
    assert "“normal”; choose from Pneumonia, Normal, Unreadable." in response.json()["detail"]


def test_an_answer_is_for_the_one_who_asked(client, alice, xray):
    client.force_login(alice)
    made = client.post("/predict", {"file": SimpleUploadedFile("x.jpg", xray())})
    secret = client.post("/api/tokens/", {"name": "x"}, content_type=JSON)
    addresses = ["/", "/history/", "/dashboard/", "/api/predictions/", "/api/tokens/", "/api/statistics/"]
    addresses += [made.json()["url"], f"{made.json()['url']}report/", f"/api/predictions/{made.json()['id']}/"]
    addresses += ["/history/export.csv", f"{made.json()['url']}report.pdf"]
    for response in (made, secret, *map(client.get, addresses)):
        assert response["Cache-Control"] == "private, no-store"
    assert Client().get("/")["Cache-Control"] == "private, no-cache"


def test_an_error_that_nobody_foresaw_tells_no_detail(client, xray, monkeypatch, settings):
    def fail(**kwargs):
        raise RuntimeError("secret of the server")

    monkeypatch.setattr(services, "diagnose", fail)
    client.raise_request_exception = False
    response = client.post("/predict", {"file": SimpleUploadedFile("x.jpg", xray())})
    assert_problem(response, 500, "server_error")
    assert b"secret" not in response.content


def test_another_host_is_refused(client, settings):
    settings.ALLOWED_HOSTS = ["xray.example.org"]
    refused = client.get("/api/predictions/", headers={"host": "evil.example"})
    assert_problem(refused, 400, "bad_request")
    assert "ALLOWED_HOSTS" in refused.json()["detail"]
    response = client.get("/", headers={"host": "evil.example", "x-forwarded-host": "xray.example.org"})
    assert (response.status_code, response["Content-Type"]) == (400, "text/html; charset=utf-8")
    assert "ALLOWED_HOSTS" in response.content.decode()
    assert "example" not in response.content.decode()
