"""What an account's owner does with it: API tokens, e-mail address, their own data, and closing it."""

import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth import authenticate, get_user_model, logout
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from diagnosis import access, own_data, services
from diagnosis.models import ApiToken
from diagnosis.templatetags import words
from diagnosis.web.accounts import FORM, SignUpForm, posted


class TokenForm(forms.ModelForm):
    """A new token: its name, and how long it lasts."""

    days = forms.IntegerField(
        label=gettext_lazy("Valid for (days)"),
        min_value=1,
        max_value=3650,
        initial=90,
        help_text=gettext_lazy("1 to 3650."),
    )

    class Meta:
        model = ApiToken
        fields = ("name",)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def account(request: HttpRequest) -> HttpResponse:
    """The user's tokens and data; a new token is shown on the page after its making, and never again."""
    form = TokenForm(posted(request))
    if form.is_valid():
        _token, secret = ApiToken.objects.create(
            _user(request),
            expiry=datetime.timedelta(days=form.cleaned_data["days"]),
            name=form.cleaned_data["name"],
        )
        # The message travels in a cookie, so that the database holds only the digest.
        said = _("Copy the token now: it is not shown again.")
        messages.success(request, format_html('{} <code class="secret" id="new-token">{}</code>', said, secret))
        return redirect("account")
    person = access.person_of(request)
    context = {
        "form": form,
        "tokens": ApiToken.objects.filter(user=_user(request)),
        "now": timezone.now(),
        "roles": [words.named(name) for name in _user(request).groups.values_list("name", flat=True)],
        "uploads": access.own_uploads(person).count(),
    }
    return render(request, "accounts/account.html", context, status=400 if form.is_bound else 200)


@login_required
@require_POST
def revoke_token(request: HttpRequest, token_key: str) -> HttpResponse:
    """Delete one of the user's tokens."""
    count, _by_model = ApiToken.objects.filter(user=_user(request), token_key=token_key).delete()
    if count:
        messages.success(request, _("The token has been revoked and no longer works."))
    else:
        messages.warning(request, _("No token was revoked: it no longer exists, or is not yours."))
    return redirect("account")


@never_cache
@login_required
@require_safe
def download(request: HttpRequest) -> HttpResponseBase:
    """All that the user sent, and what they read, as a ZIP file."""
    response = StreamingHttpResponse(own_data.everything_of(_user(request)), content_type="application/zip")
    response.headers["Content-Disposition"] = 'attachment; filename="pneumonia-site.zip"'
    return response


class PasswordForm(forms.Form):
    """Asks for the user's own password, before what must not be done by whoever finds a browser logged in."""

    password = forms.CharField(
        label=gettext_lazy("Your password"), widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )

    def __init__(self, request: HttpRequest, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.request = request

    def clean_password(self) -> str:
        password = self.cleaned_data["password"]
        if authenticate(self.request, username=_user(self.request).get_username(), password=password) is None:
            raise forms.ValidationError(_("That is not your password. Nothing was done."))
        return password


class EmailForm(PasswordForm):
    email = SignUpForm.base_fields["email"]
    field_order = ("email", "password")


@sensitive_post_parameters()
@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def change_email(request: HttpRequest) -> HttpResponse:
    """Change the user's e-mail address, or remove it, after asking for the password."""
    user = _user(request)
    form = EmailForm(request, posted(request), initial={"email": user.email})
    if form.is_valid():
        user.email = form.cleaned_data["email"]
        user.save(update_fields=["email"])
        messages.success(request, _("Your e-mail address has been changed."))
        return redirect("account")
    title = _("Change the e-mail address")
    return _form_page(request, form, title=title, button=title, back_text=_("Back to the account"))


@sensitive_post_parameters()
@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def delete_all(request: HttpRequest) -> HttpResponse:
    """Delete all that the user sent, after asking for the password."""
    person = access.person_of(request)
    form = PasswordForm(request, posted(request))
    if form.is_valid():
        count = services.delete(access.own_uploads(person).only("pk"), by=person)
        said = ngettext(
            "%(count)d picture was deleted, with everything made from it.",
            "%(count)d pictures were deleted, with everything made from them.",
            count,
        )
        messages.success(request, said % {"count": count})
        return redirect("account")
    count = access.own_uploads(person).count()
    intro = ngettext(
        "This deletes %(count)d picture with its predictions, heatmaps and readings. The audit log stays. "
        "This cannot be undone.",
        "This deletes %(count)d pictures with their predictions, heatmaps and readings. The audit log stays. "
        "This cannot be undone.",
        count,
    )
    return _form_page(
        request,
        form,
        title=_("Delete all your pictures"),
        intro=intro % {"count": count},
        button=_("Delete permanently"),
        danger=True,
        back_text=_("Back to the account, and delete nothing"),
    )


@sensitive_post_parameters()
@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def close(request: HttpRequest) -> HttpResponse:
    """Close the user's account, after asking for the password; see services.close_account."""
    user = _user(request)
    if user.is_superuser:
        messages.warning(request, _("The account of a superuser is closed in the admin, by another superuser."))
        return redirect("account")
    form = PasswordForm(request, posted(request))
    if form.is_valid():
        services.close_account(user)
        logout(request)
        messages.success(request, _("Your account has been closed."))
        return redirect("diagnosis:upload")
    title = _("Close the account")
    return _form_page(
        request,
        form,
        title=title,
        intro=_(
            "This deletes all pictures you sent, with their predictions, heatmaps and readings, revokes your API "
            "tokens, and removes your e-mail address. Nobody can log in to the account any more, nor take its name. "
            "Readings you recorded and the audit log stay. This cannot be undone."
        ),
        button=title,
        danger=True,
        back_text=_("Back to the account, and delete nothing"),
    )


def _form_page(request: HttpRequest, form: forms.Form, **words: Any) -> HttpResponse:
    """A page with one form, and a way back to the account; 400 if what was sent is not valid."""
    return render(request, FORM, {"form": form, "back": "account", **words}, status=400 if form.is_bound else 200)


def _user(request: HttpRequest) -> User:
    if not isinstance(request.user, get_user_model()):
        raise TypeError("login_required stands before this")
    return request.user
