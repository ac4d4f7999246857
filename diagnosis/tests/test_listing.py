"""`GET /api/predictions/`: filters, order, search, and pages that hold while the list changes."""

from datetime import timedelta

import pytest
from django.utils import timezone

from diagnosis.models import Prediction, Upload

pytestmark = pytest.mark.django_db
LIST = "/api/predictions/"


def make(owner, number: int, **fields) -> Prediction:
    upload = Upload.objects.create(
        owner=owner, sha256=f"{number:064x}", original_name=f"scan {number}.jpg", size=1, width=1, height=1,
        format="JPEG", file="x", thumbnail="x",
    )  # fmt: skip
    values = {"label": "Normal", "probability": 0.1, "threshold": 0.3, "operating_point": "balanced", "heatmap": "x"}
    return Prediction.objects.create(
        upload=upload, owner=owner, model_version="1", milliseconds=1, **{**values, **fields}
    )


@pytest.fixture
def caller(client, alice):
    client.force_login(alice)
    return client


def numbers(response) -> list[int]:
    return [int(row["sha256"], 16) for row in response.json()["results"]]


def walk(caller, address: str, link: str = "next") -> list[list[int]]:
    pages = []
    while address:
        response = caller.get(address)
        assert response.status_code == 200, response.json()
        pages.append(numbers(response))
        address = response.json()[link]
    return pages


@pytest.mark.parametrize("ordering", ["created", "-created", "probability", "-probability"])
def test_pages_hold_where_all_are_equal(caller, alice, ordering):
    for number in range(60):
        make(alice, number)
    Prediction.objects.update(created=timezone.now())
    pages = walk(caller, f"{LIST}?ordering={ordering}")
    assert [len(page) for page in pages] == [25, 25, 10]
    assert sorted(number for page in pages for number in page) == list(range(60))


def test_pages_lead_back_the_same_way(caller, alice):
    for number in range(60):
        make(alice, number, probability=number // 30 / 10)
    address, forth = f"{LIST}?ordering=-probability", []
    while address:
        last, response = address, caller.get(address)
        forth.append(numbers(response))
        address = response.json()["next"]
    assert walk(caller, last, "previous") == forth[::-1]


def test_rows_that_come_and_go_shift_no_page(caller, alice):
    for number in range(40):
        make(alice, number)
    first = caller.get(LIST).json()
    for row in first["results"][5:]:
        Prediction.objects.get(pk=row["id"]).upload.delete()
    make(alice, 1000)
    assert numbers(caller.get(first["next"])) == list(range(14, -1, -1))


def test_a_cursor_of_another_list_or_order_is_refused(caller, alice):
    for number in range(30):
        make(alice, number)
    following = caller.get(f"{LIST}?ordering=probability").json()["next"]
    another_order = following.replace("ordering=probability", "ordering=created")
    for wrong in (another_order, f"{LIST}?cursor=x%00y", following.replace("cursor=", "cursor=x")):
        response = caller.get(wrong)
        assert response.status_code == 404
        assert "first page" in response.json()["detail"]


def test_by_probability_what_has_none_is_left_out(caller, alice):
    make(alice, 1, probability=0.2)
    make(alice, 2, status="rejected", label="", probability=None, heatmap="")
    make(alice, 3, probability=0.1)
    assert numbers(caller.get(f"{LIST}?ordering=probability")) == [3, 1]
    assert numbers(caller.get(f"{LIST}?ordering=created")) == [1, 2, 3]


def test_filters_and_search(caller, alice):
    make(alice, 1)
    make(alice, 2, label="Pneumonia", probability=0.9)
    make(alice, 3, uncertain=True, operating_point="screening", threshold=0.2)
    yesterday = (timezone.now() - timedelta(days=1)).isoformat().replace("+", "%2B")
    for query, expected in {
        "prediction=Pneumonia": [2],
        "uncertain=true": [3],
        "uncertain=False": [2, 1],
        "operating_point=screening": [3],
        "model_version=2": [],
        "status=ok": [3, 2, 1],
        f"sha256={1:064x}": [1],
        f"created_after={yesterday}": [3, 2, 1],
        f"created_before={yesterday}": [],
        "search=scan 2": [2],
        "search=nothing": [],
        "prediction=&uncertain=": [3, 2, 1],
    }.items():
        assert numbers(caller.get(f"{LIST}?{query}")) == expected, query


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("prediction=Ill", "prediction"),
        ("status=x", "status"),
        ("uncertain=perhaps", "uncertain"),
        ("created_after=yesterday", "created_after"),
        ("sha256=abc", "sha256"),
        ("ordering=name", "ordering"),
        ("ordering=created,probability", "ordering"),
        ("lable=Normal", "lable"),
        ("model_version=%00", "model_version"),
        ("search=%00", "search"),
    ],
)
def test_a_value_that_means_nothing_is_400_and_named(caller, query, named):
    response = caller.get(f"{LIST}?{query}")
    assert (response.status_code, response.json()["code"]) == (400, "invalid")
    assert response.json()["detail"].startswith(f"`{named}`: ")
    assert response.json()["detail"].endswith(".")
