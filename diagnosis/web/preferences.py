"""A browser's preferences (theme, language, operating point), kept in cookies; and translations for scripts."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import override
from django.utils.translation.trans_real import DjangoTranslation
from django.views.decorators.cache import cache_control
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe
from django.views.i18n import JavaScriptCatalog, set_language

from diagnosis.inference import serving

THEME_COOKIE = "theme"
DARK, LIGHT = "dark", "light"
"""Dark where nothing was chosen, because X-rays are read in dim rooms."""
OPERATING_POINT_COOKIE = "operating_point"
_A_YEAR = 365 * 24 * 60 * 60


def theme_of(request: HttpRequest) -> str:
    """The theme that this browser chose."""
    return LIGHT if request.COOKIES.get(THEME_COOKIE) == LIGHT else DARK


def operating_point_of(request: HttpRequest) -> str:
    """The operating point that the request names, or else the one this browser chose last; the model's first where it
    has no such one, and "" where there is no model."""
    asked = request.POST.get("operating_point") or request.COOKIES.get(OPERATING_POINT_COOKIE)
    points = serving.operating_points()
    return asked if asked in points else next(iter(points), "")


def remember_operating_point(response: HttpResponse, name: str) -> None:
    """As the upload page's script does where it runs. The default is not stored, so that it may change."""
    if name == next(iter(serving.operating_points()), ""):
        response.delete_cookie(OPERATING_POINT_COOKIE, samesite="Lax")
    else:
        _remember(response, OPERATING_POINT_COOKIE, name)


def _remember(response: HttpResponse, cookie: str, chosen: str) -> None:
    response.set_cookie(cookie, chosen, _A_YEAR, secure=settings.SESSION_COOKIE_SECURE, samesite="Lax")


# Exempt from CSRF checks: neither is worth forging, and so their buttons also work on pages that are made
# before a visitor has one: the first page they see, and errors.


@csrf_exempt
@require_POST
def choose_theme(request: HttpRequest) -> HttpResponse:
    """Keep the theme for this browser, and go back to where the button was pressed."""
    back = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}, require_https=request.is_secure()):
        back = "/"
    response = HttpResponseRedirect(back)
    _remember(response, THEME_COOKIE, LIGHT if request.POST.get("theme") == LIGHT else DARK)
    return response


choose_language = csrf_exempt(require_POST(set_language))


class _Words(JavaScriptCatalog):
    """The translations that scripts need, without those of other applications."""

    def get(self, request: HttpRequest, language: str) -> HttpResponse:
        folders = [str(path) for path in settings.LOCALE_PATHS]
        self.translation = DjangoTranslation(language, domain="djangojs", localedirs=folders)
        return self.render_to_response({**self.get_context_data(), "formats": {}})


@require_safe
@cache_control(public=True, max_age=3600)
def words(request: HttpRequest, language: str) -> HttpResponseBase:
    """`gettext` and `ngettext` for scripts, in a language that the address names."""
    if language not in dict(settings.LANGUAGES):
        raise Http404
    with override(language):
        return _Words.as_view()(request, language=language)
