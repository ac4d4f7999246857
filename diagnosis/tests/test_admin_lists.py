"""Lists of the admin under addresses and forms that nobody writes by hand."""

import pytest
from django.contrib.auth import get_user_model

from diagnosis.models import AuditEvent, Prediction

pytestmark = pytest.mark.django_db
PREDICTIONS, REVIEWS, EVENTS, ACCOUNTS = (
    f"/admin/{model}/" for model in ("diagnosis/prediction", "diagnosis/review", "diagnosis/auditevent", "auth/user")
)
HUGE = "9" * 40
NO_ITEMS = "Items must be selected"


@pytest.fixture
def administrator(client, make, admin_user):
    make("x.jpg")
    client.force_login(admin_user)
    return client


UNANSWERABLE = [
    *(
        f"{address}?{query}"
        for address in (PREDICTIONS, REVIEWS, EVENTS)
        for query in (
            "created__year=0",
            f"created__year={HUGE}",
            "created__date=x",
            "created__gte=9999-12-31 23:59:59-14:00",
            "created__lt=0001-01-01 00:00:00%2B14:00",
        )
    ),
    f"{PREDICTIONS}?quality__contains=x",
    f"{PREDICTIONS}?id__in=x",
    f"{REVIEWS}?id__in={HUGE}",
    f"{EVENTS}?id__in={HUGE}",
    f"{ACCOUNTS}?id__in={HUGE}",
    f"{ACCOUNTS}?last_login__gte=9999-12-31 23:59:59-14:00",
    f"{PREDICTIONS}?foo=1",
]


@pytest.mark.parametrize("address", UNANSWERABLE)
def test_an_address_that_cannot_be_answered_leads_to_the_whole_list(administrator, address):
    response = administrator.get(address)
    whole = address.partition("?")[0] + "?e=1"
    assert (response.status_code, response["Location"]) == (302, whole)
    assert administrator.get(whole).status_code == 200


@pytest.mark.parametrize(
    ("method", "query"),
    [
        *(("get", query) for query in ("foo=1", "created__date=x", "q=" + "a " * 21)),
        *(("post", query) for query in ("quality__contains=x", "created__gte=9999-12-31 23:59:59-14:00")),
    ],
)
def test_an_export_under_such_an_address_leads_to_the_list_and_takes_nothing_along(administrator, method, query):
    response = getattr(administrator, method)(
        f"{PREDICTIONS}export/?{query}", {"format": "0"} if method == "post" else {}
    )
    assert (response.status_code, response["Location"]) == (302, f"{PREDICTIONS}?e=1")
    assert not AuditEvent.objects.filter(action="exported").exists()


@pytest.mark.parametrize("address", [PREDICTIONS, REVIEWS, EVENTS, ACCOUNTS])
def test_a_search_for_very_many_words_is_refused_in_words(administrator, address):
    assert administrator.get(address, {"q": "a " * 20}).status_code == 200
    response = administrator.get(address, {"q": "a " * 21}, follow=True)
    assert response.redirect_chain == [(f"{address}?e=1", 302)]
    assert "Search for at most 20 words at once." in response.content.decode()


@pytest.mark.parametrize("key", ["x", "\0", HUGE, "-1", "1" * 5000])
@pytest.mark.parametrize("address", [PREDICTIONS, ACCOUNTS])
def test_an_action_on_what_no_row_can_be_says_that_nothing_is_selected(administrator, address, key):
    chosen = {"action": "delete_selected", "_selected_action": key, "post": "yes"}
    page = administrator.post(address, chosen, follow=True)
    assert page.status_code == 200
    assert NO_ITEMS in page.content.decode() or key == "-1"  # which a row of some database could be
    assert Prediction.objects.exists()
    assert get_user_model().objects.count() == 2


@pytest.mark.parametrize("group", ["9" * 19, HUGE, "x", "-1", "\0"])
def test_a_role_that_there_is_not_is_refused_by_the_form(administrator, alice, group):
    address = f"{ACCOUNTS}{alice.pk}/change/"
    response = administrator.post(address, {"groups": group, "is_active": "on"})
    assert response.status_code == 200
    assert response.context["adminform"].form.errors["groups"]
    assert [str(role) for role in alice.groups.all()] == ["uploader"]
