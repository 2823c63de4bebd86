"""The programs that use a dataset over the HTTP API: their tokens, what they reported, and how they are told."""

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from labeling.access import ENGINEERS, DatasetAccess, access_dataset
from labeling.actions.reports import stop_webhook
from labeling.actions.tokens import make_token, revoke_token
from labeling.errors import LabelingError
from labeling.pipeline.delivering import watch, webhook_secret
from labeling.queries.reports import newest_deliveries, newest_reports
from reviewer.forms import TokenForm, WebhookForm
from reviewer.http import PersonRequest, go_to


@require_safe
def programs(request: PersonRequest, slug: str) -> HttpResponse:
    return _page(request, access_dataset(request.user, slug, *ENGINEERS))


@require_POST
def make(request: PersonRequest, slug: str) -> HttpResponse:
    """Make a token. The answer is the one place where its text ever stands, so it is no redirect."""
    access = access_dataset(request.user, slug, *ENGINEERS)
    form = TokenForm(request.POST)
    if not form.is_valid():
        return _page(request, access, form=form)
    chosen = form.cleaned_data
    try:
        _, text = make_token(
            dataset=access.dataset,
            name=chosen["name"],
            scopes=chosen["scopes"],
            per_minute=chosen["per_minute"],
            expires_at=form.expires_at(),
            person=request.user,
        )
    except LabelingError as error:
        form.add_error(None, str(error))
        return _page(request, access, form=form)
    return _page(request, access, made=text)


@require_POST
def revoke(request: PersonRequest, slug: str, pk: int) -> HttpResponse:
    access = access_dataset(request.user, slug, *ENGINEERS)
    token = get_object_or_404(access.dataset.api_tokens, pk=pk)
    changed = revoke_token(token=token)
    notice = f"{token.name} is refused from now on." if changed else f"{token.name} was revoked before."
    return go_to(request, reverse("programs", args=[slug]), notice=notice)


@require_POST
def tell(request: PersonRequest, slug: str) -> HttpResponse:
    """Have an address told of the decisions on reported images."""
    access = access_dataset(request.user, slug, *ENGINEERS)
    form = WebhookForm(request.POST)
    if form.is_valid():
        try:
            watch(access.dataset, form.cleaned_data["url"], request.user)
        except LabelingError as error:
            form.add_error("url", str(error))
        else:
            return go_to(request, reverse("programs", args=[slug]), notice="Saved. Its secret is listed below.")
    return _page(request, access, webhook_form=form)


@require_POST
def stop(request: PersonRequest, slug: str, pk: int) -> HttpResponse:
    access = access_dataset(request.user, slug, *ENGINEERS)
    webhook = get_object_or_404(access.dataset.webhooks, pk=pk)
    stop_webhook(webhook=webhook)
    return go_to(request, reverse("programs", args=[slug]), notice=f"{webhook.url} is told nothing more.")


def _page(
    request: PersonRequest,
    access: DatasetAccess,
    *,
    form: TokenForm | None = None,
    webhook_form: WebhookForm | None = None,
    made: str = "",
) -> HttpResponse:
    webhooks = access.dataset.webhooks.filter(stopped_at=None)
    context = {
        "access": access,
        "dataset": access.dataset,
        "tokens": access.dataset.api_tokens.select_related("created_by"),
        "form": form or TokenForm(),
        "made": made,
        "now": timezone.now(),
        "webhook_form": webhook_form or WebhookForm(),
        "webhooks": [(webhook, webhook_secret(webhook)) for webhook in webhooks],
        "delivering": not settings.API_WEBHOOKS.off,
        "deliveries": newest_deliveries(access.dataset),
        "reports": newest_reports(access.dataset),
    }
    return render(request, "programs/page.html", context, status=422 if form or webhook_form else 200)
