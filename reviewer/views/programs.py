"""The programs that use a dataset over the HTTP API, by their tokens."""

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from labeling.access import ENGINEERS, DatasetAccess, access_dataset
from labeling.actions.tokens import make_token, revoke_token
from labeling.errors import LabelingError
from reviewer.forms import TokenForm
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


def _page(
    request: PersonRequest, access: DatasetAccess, *, form: TokenForm | None = None, made: str = ""
) -> HttpResponse:
    context = {
        "access": access,
        "dataset": access.dataset,
        "tokens": access.dataset.api_tokens.select_related("created_by"),
        "form": form or TokenForm(),
        "made": made,
        "now": timezone.now(),
    }
    return render(request, "programs/page.html", context, status=422 if form else 200)
