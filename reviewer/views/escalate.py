"""Escalating images: asked once, then they are out of sight. Without JavaScript, and from every page but focus mode."""

from uuid import uuid4

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from labeling.access import REVIEWERS, access_dataset
from labeling.actions.escalations import escalate as put_into_quarantine
from labeling.errors import LabelingError
from labeling.models import Image
from reviewer.escalation_forms import EscalateForm
from reviewer.http import PersonRequest, go_to


@require_http_methods(["GET", "HEAD", "POST"])
def escalate(request: PersonRequest, slug: str) -> HttpResponse:
    """Ask whether these images are to be escalated; a confirmed form does it."""
    access = access_dataset(request.user, slug, *REVIEWERS)
    form = EscalateForm(request.POST if request.method == "POST" else request.GET)
    if not form.is_valid():
        field, errors = next(iter(form.errors.items()))
        words = "Select images first." if field == "image" else f"{field}: {errors[0]}"
        messages.error(request, f"Nothing was escalated. {words}")
        return go_to(request, _back(slug, request.POST.get("back", "")))
    sent = form.cleaned_data
    if request.method == "POST" and sent["confirmed"] and sent["key"]:
        try:
            done = put_into_quarantine(
                dataset=access.dataset, images=sent["image"], person=request.user, key=sent["key"], note=sent["note"]
            )
        except LabelingError as error:
            messages.error(request, str(error))
            return redirect(_back(slug, sent["back"]))
        many = "1 image is" if done.images == 1 else f"{done.images:,} images are"
        return go_to(
            request,
            _back(slug, sent["back"]),
            notice=f"Escalated: {many} out of sight, and only authorised people decide.",
        )
    there = list(Image.objects.filter(dataset=access.dataset, pk__in=sent["image"]).order_by("pk").only("pk"))
    return render(
        request,
        "escalations/ask.html",
        {
            "access": access,
            "dataset": access.dataset,
            "images": there,
            "back": _back(slug, sent["back"]),
            "key": uuid4(),
        },
    )


def _back(slug: str, wanted: str) -> str:
    """Where the person came from, if that is a page of this dataset; the explorer otherwise."""
    own = reverse("overview", args=[slug])
    return wanted if wanted.startswith(own) and "\\" not in wanted else reverse("images", args=[slug])
