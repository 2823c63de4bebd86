"""One's own settings."""

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from labeling.actions import people
from reviewer.forms import ShieldForm, ThemeForm
from reviewer.http import PersonRequest


@require_safe
def me(request: PersonRequest) -> HttpResponse:
    return render(request, "me/settings.html", {"form": ThemeForm(initial={"theme": request.user.theme})})


@require_POST
def theme(request: PersonRequest) -> HttpResponse:
    form = ThemeForm(request.POST)
    if not form.is_valid():
        return render(request, "me/settings.html", {"form": form}, status=422)
    people.set_theme(person=request.user, theme=form.cleaned_data["theme"])
    return redirect("me")


@require_POST
def shield(request: PersonRequest) -> HttpResponse:
    """Blur images of harmful classes until revealed, or not; the B key of the review page comes here too."""
    form = ShieldForm(request.POST)
    form.full_clean()
    people.set_shield(person=request.user, shield=form.cleaned_data["shield"])
    return HttpResponse(status=204) if request.htmx else redirect("me")
