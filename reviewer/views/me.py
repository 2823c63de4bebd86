"""One's own settings, and for those who run the place everybody's defaults."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from labeling.actions import people, wellness
from labeling.errors import WrongUsage
from labeling.models import Comfort, Exposure
from labeling.queries.wellness import comfort_of, exposure_today
from reviewer.forms import ComfortForm, KeysForm, ShieldForm, ThemeForm
from reviewer.http import PersonRequest

OWN, EVERYBODY = "own", "everybody"
_DAYS = 14


@require_safe
def me(request: PersonRequest) -> HttpResponse:
    return _page(request)


@require_POST
def theme(request: PersonRequest) -> HttpResponse:
    form = ThemeForm(request.POST)
    if not form.is_valid():
        return _page(request, theme=form)
    people.set_theme(person=request.user, theme=form.cleaned_data["theme"])
    return redirect("me")


@require_POST
def shield(request: PersonRequest) -> HttpResponse:
    """Blur images of harmful classes until revealed, or not; the B key of the review page comes here too."""
    form = ShieldForm(request.POST)
    form.full_clean()
    people.set_shield(person=request.user, shield=form.cleaned_data["shield"])
    return HttpResponse(status=204) if request.htmx else redirect("me")


@require_POST
def comfort(request: PersonRequest) -> HttpResponse:
    """One's own comfort settings."""
    form = ComfortForm(request.POST, prefix=OWN)
    if not form.is_valid():
        return _page(request, own=form)
    wellness.set_comfort(person=request.user, wishes=form.wishes())
    return redirect("me")


@require_POST
def defaults(request: PersonRequest) -> HttpResponse:
    """The organisation's defaults, by those who run the place."""
    if not request.user.is_superuser:
        raise PermissionDenied("Only an administrator sets the defaults for everybody.")
    form = ComfortForm(request.POST, prefix=EVERYBODY)
    if not form.is_valid():
        return _page(request, everybody=form)
    wellness.set_comfort(person=None, wishes=form.wishes())
    return redirect("me")


@require_POST
def keys(request: PersonRequest) -> HttpResponse:
    """Where this person wants the keys to lie; `reset` puts all of them back."""
    if "reset" in request.POST:
        people.set_keys(person=request.user, keys={})
        return redirect("me")
    form = KeysForm(request.POST)
    if form.is_valid():
        try:
            people.set_keys(person=request.user, keys=form.chosen())
        except WrongUsage as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, "Your keys lie there from now on.")
            return redirect("me")
    return _page(request, keys=form)


@require_POST
def reveal(request: PersonRequest) -> HttpResponse:
    """Count that this person looked behind the shield; the review page sends it once an image."""
    wellness.count_reveal(person=request.user)
    return HttpResponse(status=204)


def _page(
    request: PersonRequest,
    *,
    theme: ThemeForm | None = None,
    own: ComfortForm | None = None,
    everybody: ComfortForm | None = None,
    keys: KeysForm | None = None,
) -> HttpResponse:
    refused = any((theme, own, everybody, keys))
    rows = Comfort.objects.filter(person=request.user) | Comfort.objects.filter(person__isnull=True)
    stored = {row.person_id: row for row in rows}
    applies = comfort_of(request.user)
    context = {
        "form": theme or ThemeForm(initial={"theme": request.user.theme}),
        "own": own or ComfortForm.of(stored.get(request.user.pk), OWN),
        "everybody": (everybody or ComfortForm.of(stored.get(None), EVERYBODY)) if request.user.is_superuser else None,
        "applies": applies,
        "keys": keys or KeysForm.of(request.user.keys),
        "today": exposure_today(request.user, applies),
        "exposures": Exposure.objects.filter(person=request.user).order_by("-day")[:_DAYS],
    }
    return render(request, "me/settings.html", context, status=422 if refused else 200)
