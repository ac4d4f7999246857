"""The doors of an account: signing up, logging in and out, and passwords."""

import threading
from typing import Any

import axes.utils
from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import get_user_model, login, views
from django.contrib.auth.forms import PasswordResetForm, UserCreationForm, UsernameField
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.contrib.messages.views import SuccessMessageMixin
from django.db import IntegrityError, transaction
from django.dispatch import receiver
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.translation import get_language, gettext_lazy, ngettext, override
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from diagnosis import access, roles, services
from diagnosis.api.throttles import AccountThrottle
from diagnosis.models import ApiToken
from diagnosis.web import refusals

FORM = "accounts/form.html"


class LoginView(views.LoginView):
    """Log in, with a link to sign up where that is allowed."""

    template_name = "registration/login.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_context_data(**kwargs), "sign_up": settings.SIGN_UP}


class LogoutView(views.LogoutView):
    """Log out by POST; opening the address asks for confirmation."""

    http_method_names = ["get", "head", "post", "options"]

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return render(request, "registration/log_out.html")


class NewNameForm(UserCreationForm):
    """User names that differ only in case count as the same, so that nobody can pass for somebody else."""

    def clean_username(self) -> str:
        """Django leaves this to the database, and SQLite folds the case of ASCII letters only."""
        name = super().clean_username()
        names = get_user_model().objects.values_list("username", flat=True)
        if name and name.casefold() in {str(access.Person()), *(taken.casefold() for taken in names)}:
            raise forms.ValidationError(self.instance.unique_error_message(get_user_model(), ["username"]))
        return name


class SignUpForm(NewNameForm):
    username = UsernameField(
        label=gettext_lazy("User name"),
        max_length=150,
        validators=[UnicodeUsernameValidator()],
        help_text=gettext_lazy("Letters, digits and @ . + - _"),
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none"}),
    )
    email = forms.EmailField(
        label=gettext_lazy("E-mail address"),
        required=False,
        max_length=254,
        help_text=gettext_lazy("Used to reset your password if you forget it."),
    )

    class Meta:
        model = get_user_model()
        fields = ("username", "email")


@sensitive_post_parameters()
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_up(request: HttpRequest) -> HttpResponse:
    """Create an account with the role of an uploader, where the setting SIGN_UP allows it."""
    if not settings.SIGN_UP:
        raise Http404
    if request.user.is_authenticated:
        return redirect("account")
    if refusal := _too_often(request):
        return refusal
    form = SignUpForm(posted(request))
    if form.is_valid() and (user := _made_by(form)):
        login(request, user, backend="django.contrib.auth.backends.ModelBackend")
        messages.success(request, _("Your account has been created, and you are logged in."))
        return redirect(settings.LOGIN_REDIRECT_URL)
    context = {
        "form": form,
        "title": _("Create an account"),
        "button": _("Create the account"),
        "back": "login",
        "back_text": _("Already have an account? Log in"),
    }
    return render(request, FORM, context, status=400 if form.is_bound else 200)


def _made_by(form: SignUpForm) -> User | None:
    """The new account; None, with an error in `form`, if a second click took the name while the password was being
    hashed."""
    try:
        with transaction.atomic():
            user = form.save()
            roles.give(user, roles.UPLOADER)
    except IntegrityError:
        form.full_clean()
        if form.is_valid():
            raise
        return None
    return user


@receiver(user_logged_in)
def take_along(request: HttpRequest, user: User, **signal: Any) -> None:
    """What the browser's visitor sent before becomes the user's, whichever page they log in by."""
    adopt(request, access.visitor_of(request), user)
    access.forget_visitor(request)


def adopt(request: HttpRequest, visitor: access.Person, user: User) -> None:
    """Give `user` what `visitor` sent, if anything, and tell them."""
    if count := services.adopt(visitor, user=user):
        said = ngettext(
            "%(count)d picture sent from this browser now belongs to your account.",
            "%(count)d pictures sent from this browser now belong to your account.",
            count,
        )
        messages.info(request, said % {"count": count}, fail_silently=True)


@receiver(user_logged_out)
def say_goodbye(request: HttpRequest, **signal: Any) -> None:
    """Confirm the log-out, on whichever page it happened, and leave nothing of the user's in the browser."""
    request.logged_out = True  # type: ignore[attr-defined]
    messages.success(request, _("You are logged out. On a shared computer, close the browser too."), fail_silently=True)


class PasswordChange(SuccessMessageMixin, views.PasswordChangeView):
    template_name = FORM
    success_url = reverse_lazy("account")
    success_message = gettext_lazy("Your password has been changed.")
    extra_context = {
        "title": gettext_lazy("Change the password"),
        "intro": gettext_lazy("You stay logged in here, and are logged out everywhere else. API tokens stay valid."),
        "button": gettext_lazy("Change the password"),
        "back": "account",
        "back_text": gettext_lazy("Back to the account"),
    }


class LetterForm(PasswordResetForm):
    """Sends the e-mail in a thread: otherwise a slower response would reveal that the account exists."""

    THREAD = "password reset letter"

    def send_mail(self, *args: Any, **kwargs: Any) -> None:
        language, send = get_language(), super().send_mail

        def write() -> None:
            with override(language):  # which belongs to a thread, and is no one's in a new one
                send(*args, **kwargs)

        threading.Thread(target=write, name=self.THREAD).start()


@method_decorator(never_cache, name="dispatch")
class PasswordReset(SuccessMessageMixin, views.PasswordResetView):
    """Ask for a letter with a link to set a new password."""

    form_class = LetterForm
    template_name = FORM
    email_template_name = "accounts/password_reset_email.txt"
    subject_template_name = "accounts/password_reset_subject.txt"
    success_url = reverse_lazy("login")
    # The same whether or not the account exists, so that strangers learn nothing.
    success_message = gettext_lazy("If an account has that address, an e-mail with a link is on its way.")
    extra_context = {
        "title": gettext_lazy("Set a new password"),
        "intro": gettext_lazy(
            "Enter the e-mail address of your account. You will get an e-mail with a link to set a new password."
        ),
        "button": gettext_lazy("Send the e-mail"),
        "back": "login",
        "back_text": gettext_lazy("Back to the log-in"),
    }

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return _too_often(request) or super().post(request, *args, **kwargs)


class PasswordResetConfirm(SuccessMessageMixin, views.PasswordResetConfirmView):
    template_name = FORM
    success_url = reverse_lazy("login")
    success_message = gettext_lazy("Your new password is set. Log in with it.")
    extra_context = {
        "intro": gettext_lazy("This logs the account out everywhere and revokes all its API tokens."),
        "button": gettext_lazy("Set the password"),
    }

    def form_valid(self, form: Any) -> HttpResponse:
        """Whoever received the e-mail owns the account: lift the lock-out after wrong passwords, and revoke the tokens
        that an intruder may have made."""
        response = super().form_valid(form)
        ApiToken.objects.filter(user=self.user).delete()
        axes.utils.reset(username=self.user.get_username())
        return response


def _too_often(request: HttpRequest) -> HttpResponse | None:
    """The refusal if a form for strangers was sent too often from one address, otherwise None."""
    if request.method != "POST" or not (seconds := AccountThrottle().seconds_to_wait(request)):
        return None
    return refusals.too_often(request, seconds)


def locked_out(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    """The answer to log-ins after too many wrong passwords."""
    seconds = int(settings.AXES_COOLOFF_TIME.total_seconds())
    return refusals.too_often(request, seconds, minutes=seconds // 60)


def posted(request: HttpRequest) -> Any:
    """What a form is bound to: None until it was sent."""
    return request.POST if request.method == "POST" else None
