"""Coming in and going out."""

from django.conf import settings
from django.contrib.auth import login, logout
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from labeling.actions.people import check_sign_in_token
from labeling.models import Person

_BACKEND = "django.contrib.auth.backends.ModelBackend"


@login_not_required
@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    form = AuthenticationForm(request, data=request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        login(request, form.get_user())
        return redirect(_next_page(request))
    status = 422 if form.errors else 200
    return render(request, "sign_in/form.html", {"form": form, "next": request.GET.get("next", "")}, status=status)


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in_link(request: HttpRequest, pk: int, token: str) -> HttpResponse:
    """A one-time link. Only the POST uses it up: mail scanners and chat previews follow links by GET."""
    person = Person.objects.filter(pk=pk).first()
    if person is None or not check_sign_in_token(person, token):
        return render(request, "sign_in/used.html", status=410)
    if request.method == "POST":
        login(request, person, backend=_BACKEND)
        return redirect(settings.LOGIN_REDIRECT_URL)
    return render(request, "sign_in/link.html", {"name": person.get_username()})


@login_not_required
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    response = redirect("sign_in")
    # Images are cached for an hour; on a shared machine the next person must not find them.
    response.headers["Clear-Site-Data"] = '"cache"'
    return response


def _next_page(request: HttpRequest) -> str:
    wanted = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted if wanted and safe else settings.LOGIN_REDIRECT_URL
