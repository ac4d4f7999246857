"""Forms that Django itself stumbles over, on a page and in the API: names of files, and what is cut off."""

import pytest

from diagnosis.models import Upload

pytestmark = pytest.mark.django_db


def form(*files: tuple[bytes, bytes]) -> bytes:
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n'
    return b"".join(head % name + content + b"\r\n" for name, content in files) + b"--x--\r\n"


@pytest.mark.parametrize(
    ("name", "kept"),
    [(b"M\xfcller.jpg", "Müller.jpg"), ("Müller.jpg".encode(), "Müller.jpg"), (b"..", "unnamed"), (b"/", "unnamed")],
)
def test_a_file_comes_under_any_name_and_costs_no_other(client, xray, name, kept):
    body = form((b"first.jpg", xray()), (name, xray(seed=1)), (b"last.jpg", xray(seed=2)))
    response = client.post("/api/predictions/", body, content_type="multipart/form-data; boundary=x")
    names = [answer["prediction"]["file_name"] for answer in response.json()["results"]]
    assert names == ["first.jpg", kept, "last.jpg"]
    for address, status in {"/predict": 200, "/": 302}.items():
        body = form((name, xray(seed=3)))
        assert client.post(address, body, content_type="multipart/form-data; boundary=x").status_code == status
    assert Upload.objects.filter(original_name=kept).count() == 3


@pytest.mark.parametrize("room", [0, 1, 10, 60, 100])
def test_a_name_that_is_not_utf8_may_stand_where_a_portion_of_the_body_ends(client, xray, room):
    padding = 64 * 1024 - len(form((b"first.jpg", xray()))) - room
    body = form((b"first.jpg", xray() + b"\0" * padding), (b"M\xfcller.jpg", xray(seed=1)))
    response = client.post("/api/predictions/", body, content_type="multipart/form-data; boundary=x")
    assert [answer["file_name"] for answer in response.json()["results"]] == ["first.jpg", "Müller.jpg"]
    sent = Upload.objects.order_by("created").values_list("size", flat=True)
    assert list(sent) == [len(xray()) + padding, len(xray(seed=1))]


@pytest.mark.parametrize("lost", [4, 5, 500], ids=["the end alone", "the last boundary", "a part of the last file"])
def test_of_a_form_that_was_cut_off_nothing_is_answered(client, xray, lost):
    body = form((b"first.jpg", xray()), (b"last.jpg", xray(seed=1)))[:-lost]
    for address in ("/api/predictions/", "/predict", "/"):
        response = client.post(address, body, content_type="multipart/form-data; boundary=x")
        assert response.status_code == 400
        if address != "/":
            assert response.json()["code"] == "parse_error"
            assert "cut off" in response.json()["detail"]
    assert not Upload.objects.exists()


@pytest.mark.parametrize("tail", [b"", b"\r\n", b"what follows the end\r\n\r\nis no part" * 100])
def test_the_end_of_a_form_may_be_followed_by_anything_or_nothing(client, xray, tail):
    body = form((b"xray.jpg", xray())).removesuffix(b"\r\n") + tail
    assert client.post("/predict", body, content_type="multipart/form-data; boundary=x").status_code == 200


@pytest.mark.parametrize("charset", ["idna", "punycode", "utf-16", "base64", "nonsense"])
def test_a_form_in_another_charset_is_refused_in_words(client, xray, charset):
    def post(address: str, charset: str):
        kind = f"multipart/form-data; boundary=x; charset={charset}"
        return client.generic("POST", address, form((b"x.jpg", xray())), content_type=kind)

    refused = post("/predict", charset)
    assert (refused.status_code, refused.json()["code"]) == (415, "unsupported_media_type")
    assert "in UTF-8" in refused.json()["detail"]
    page = post("/", charset)
    assert (page.status_code, page["Content-Type"]) == (415, "text/html; charset=utf-8")
    assert "in UTF-8" in page.content.decode()
    assert post("/predict", "UTF-8").status_code == 200
    assert post("/predict", "ISO-8859-1").status_code == 200, "Java's HttpClient says so of every form"


def test_a_body_in_chunks_is_refused_by_a_page_where_pages_are(client):
    for address, kind in {"/": "text/html; charset=utf-8", "/predict": "application/problem+json"}.items():
        response = client.post(address, headers={"transfer-encoding": "chunked"})
        assert (response.status_code, response["Content-Type"]) == (411, kind)
        assert "Content-Length" in response.content.decode()


@pytest.mark.parametrize(
    "head",
    [
        b'Content-Disposition: form-data; filename="x.jpg"',
        b"Content-Disposition: form-data; name=\"file\"; filename*=nope''x.jpg",
        b"Content-Disposition: attachment",
        b"Content-Type: image/jpeg",
    ],
)
def test_a_part_without_a_name_is_refused_in_words(client, xray, head):
    body = b"--x\r\n" + head + b"\r\n\r\n" + xray() + b"\r\n" + form((b"x.jpg", xray()))
    for address in ("/predict", "/api/predictions/"):
        response = client.post(address, body, content_type="multipart/form-data; boundary=x")
        assert (response.status_code, response.json()["code"]) == (400, "parse_error")
        assert 'give it one, as in `form-data; name="file"`.' in response.json()["detail"]
    assert client.post("/", body, content_type="multipart/form-data; boundary=x").status_code == 400
    assert not Upload.objects.exists()


def test_a_name_may_tell_its_charset(client, xray):
    body = form((b"", xray())).replace(b'filename=""', b"filename*=utf-8''M%C3%BCller.jpg")
    response = client.post("/predict", body, content_type="multipart/form-data; boundary=x")
    assert response.json()["file_name"] == "Müller.jpg"
