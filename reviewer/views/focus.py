"""What the page's own code asks in focus mode, as JSON: the next items, verdicts from its queue, and what is around.

The forms of `views.review` do the same without JavaScript. Answers by status: 401 somebody is signed out or signed in
as another person, 403 the role does not allow it, 410 the dataset is gone (or was never theirs), 400 a body that
cannot be read. Each verdict of a request has a status of its own.
"""

import json
from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST, require_safe

from labeling.access import REVIEWERS, DatasetAccess, access_dataset
from labeling.actions.claims import hold_claims, skip_item
from labeling.actions.escalations import escalate
from labeling.actions.verdicts import record_verdict, redo_last, undo_last, undo_own
from labeling.errors import Conflict, LabelingError
from labeling.models import ReviewItem, TaxonomyClass, Verdict
from labeling.queries import queue
from labeling.queue_filter import QueueFilter
from labeling.tasks import keep_estimate_fresh, keep_ranking_fresh, keep_skills_fresh
from reviewer.exposure import Care
from reviewer.focus_context import AROUND
from reviewer.focus_items import HOLD, held_facts, in_words, progress_facts
from reviewer.forms import VerdictForm
from reviewer.http import PersonRequest

MOST_VERDICTS = 50
"""In one request; the page sends fewer."""

_MOST_ON_THEIR_WAY = 500
_BLIND = "The audit sample is judged blind: what is around an image is not shown."

Answer = dict[str, Any]
JsonView = Callable[..., Answer]


class _Unreadable(Exception):
    """The body is not what the page sends."""


def in_json(view: JsonView) -> Callable[..., HttpResponse]:
    """Authorise a JSON view, and answer every refusal with its status and a sentence under `why`."""

    @wraps(view)
    def answer(request: PersonRequest, slug: str, **named: Any) -> JsonResponse:
        if not request.user.is_authenticated:
            return _refusal(401, "You are signed out.")
        try:
            if _sender(request) not in {"", str(request.user.pk)}:
                return _refusal(401, f"You are signed in as {request.user.username} now.")
            return JsonResponse(view(request, access_dataset(request.user, slug, *REVIEWERS), **named))
        except Http404 as missing:
            return _refusal(410, str(missing) or "This is no longer there.")
        except PermissionDenied as denied:
            return _refusal(403, str(denied))
        except Conflict as conflict:
            return _refusal(409, str(conflict))
        except (LabelingError, _Unreadable) as error:
            return _refusal(400, str(error))

    return login_not_required(answer)


@require_POST
@in_json
def next_items(request: PersonRequest, access: DatasetAccess) -> Answer:
    """Renew what this person holds and claim up to `HOLD` items more than those whose verdicts are on their way.

    Body: `decided`, the items of those verdicts; `known`, those that the page is going to show and need not be told
    about again; `held`, all that it has in hand. Answer: `items` without the decided ones, the one to be shown first, a
    known one with its number alone; `gone`, those in hand that are no longer there for anybody; `progress` of this part
    of the queue, where nothing is known yet: else the page learns it with each verdict.
    """
    body = _body(request)
    gone = _gone(access, body)
    decided, known = (_item_numbers(body.get(name, [])) for name in ("decided", "known"))
    return _held(request, access, decided, known) | {"gone": gone}


@require_POST
@in_json
def verdicts(request: PersonRequest, access: DatasetAccess) -> Answer:
    """Record a queue of decisions in order; each is answered by itself, and a repeated key by its first result.

    Body: `verdicts`, each with `item`, `key` and `decision`: as in `VerdictForm`, `skip`, `escalate` with a `note`, or
    `undo` with the key `undoes`; `held` as for the next items. Answer: `results` in the same order, each with `key`,
    `status` (200 saved, 409 the item moved on, 410 it is gone, 422 not understood) and `words` or `why`; `progress`;
    `gone` as for the next items.
    """
    body = _body(request)
    sent = body.get("verdicts")
    if not isinstance(sent, list) or not 0 < len(sent) <= MOST_VERDICTS or not all(isinstance(o, dict) for o in sent):
        raise _Unreadable(f"Expected 1 to {MOST_VERDICTS} verdicts. Reload the page.")
    classes = queue.classes_of(access.dataset)
    care = Care(request.user)
    results, saved = [], []
    for one in sent:
        carry_out = _CARRY_OUT.get(str(one.get("decision")), _decide)
        try:
            words, verdict, seen = carry_out(request, access, one, classes)
            result: Answer = {"status": 200, "words": words}
            if seen is not None:
                care.count_seen(seen)
            if verdict is not None:
                saved.append(verdict)
        except Http404 as missing:
            result = {"status": 410, "why": str(missing)}
        except Conflict as conflict:
            result = {"status": 409, "why": str(conflict)}
        except (LabelingError, _Unreadable) as error:
            result = {"status": 422, "why": str(error)}
        results.append({"key": str(one.get("key", "")), **result})
    if saved:
        keep_estimate_fresh(access.dataset, audit=any(verdict.blind for verdict in saved))
        keep_ranking_fresh(access.dataset, request.user)
        keep_skills_fresh(access.dataset)
    filters = QueueFilter.from_query(request.GET.dict())
    progress = queue.progress(access.dataset, request.user, filters)
    return {"results": results, "progress": progress_facts(progress, care), "gone": _gone(access, body)}


@require_POST
@in_json
def take_back(request: PersonRequest, access: DatasetAccess) -> Answer:
    """Undo this person's last standing verdict, also yesterday's; the image comes first among `items`.

    Body: `key`, and `decided` as for the next items. 409 when there is nothing to undo.
    """
    body = _body(request)
    if undo_last(dataset=access.dataset, reviewer=request.user, key=_key(body.get("key"))) is None:
        raise Conflict("There is nothing to undo: you have no standing verdict here.")
    return _held(request, access, _item_numbers(body.get("decided", [])))


@require_POST
@in_json
def put_back(request: PersonRequest, access: DatasetAccess) -> Answer:
    """Let the verdict stand again that this person undid last; body and answer as of `take_back`.

    409 when there is nothing to put back.
    """
    body = _body(request)
    if redo_last(dataset=access.dataset, reviewer=request.user, key=_key(body.get("key"))) is None:
        raise Conflict("There is nothing to put back: you undid nothing since your last verdict.")
    return _held(request, access, _item_numbers(body.get("decided", [])))


@require_safe
@in_json
def around(request: PersonRequest, access: DatasetAccess, item_id: int, what: str) -> Answer:
    """What is around an item: its near-duplicate `group`, its nearest `neighbours`, or its `history`."""
    if QueueFilter.from_query(request.GET.dict()).blind:
        raise PermissionDenied(_BLIND)
    item = _item(access, item_id)
    title, facts = AROUND[what]
    return {"title": title, **facts(access.dataset, item)}


def _gone(access: DatasetAccess, body: Answer) -> list[int]:
    """Of the items that the page has in hand those that are no longer there for anybody, as after an escalation."""
    held = _item_numbers(body.get("held", []))
    if not held:
        return []
    there = ReviewItem.objects.filter(dataset=access.dataset, pk__in=held).values_list("pk", flat=True)
    return sorted(held.difference(there))


def _held(
    request: PersonRequest, access: DatasetAccess, decided: frozenset[int], known: frozenset[int] = frozenset()
) -> Answer:
    care = Care(request.user)
    filters = care.apply(QueueFilter.from_query(request.GET.dict()))
    claims = hold_claims(dataset=access.dataset, reviewer=request.user, filters=filters, hold=HOLD, besides=decided)
    open_claims = [claim for claim in claims if claim.item_id not in decided]
    new = [claim for claim in open_claims if claim.item_id not in known]
    shown = queue.shown_items(new, queue.classes_of(access.dataset), blind=filters.blind, comfort=care.comfort)
    facts = {one["item"]: one for one in held_facts(access.dataset, shown, aged=bool(filters.band))}
    answer: Answer = {"items": [facts.get(claim.item_id, {"item": claim.item_id}) for claim in open_claims]}
    if not known:
        answer["progress"] = progress_facts(queue.progress(access.dataset, request.user, filters), care)
    return answer


# What to say, the verdict that was saved, and the item that the person saw for it where that is to be counted here.
_Carried = tuple[str, Verdict | None, ReviewItem | None]


def _decide(request: PersonRequest, access: DatasetAccess, one: Answer, classes: list[TaxonomyClass]) -> _Carried:
    form = VerdictForm(one, classes=classes)
    if not form.is_valid():
        raise _Unreadable(form.first_error())
    decision, key, seconds = form.parsed()
    item = _item(access, one.get("item"))
    saved = record_verdict(
        item=item,
        reviewer=request.user,
        kind=decision.kind,
        label=decision.label,
        key=key,
        seconds=seconds,
        shown=form.shown(),
        blind=one.get("blind") is True,
    )
    return in_words(saved), saved, item


def _skip(request: PersonRequest, access: DatasetAccess, one: Answer, _: list[TaxonomyClass]) -> _Carried:
    item = _item(access, one.get("item"))
    skip_item(item=item, reviewer=request.user)
    return "Skipped, not now.", None, item


def _undo(request: PersonRequest, access: DatasetAccess, one: Answer, _: list[TaxonomyClass]) -> _Carried:
    undone = undo_own(
        dataset=access.dataset, reviewer=request.user, undoes=_key(one.get("undoes")), key=_key(one.get("key"))
    )
    words = "Undone: this image is open again." if undone else "It had not been saved: nothing to undo."
    return words, undone, None


def _escalate(request: PersonRequest, access: DatasetAccess, one: Answer, _: list[TaxonomyClass]) -> _Carried:
    """Put the image into quarantine. One that is there already is escalated all the same: nothing is to be lost."""
    number = one.get("item")
    items = ReviewItem.everything.select_related("image__given_class", "suggested_class")
    item = items.filter(dataset=access.dataset, pk=number).first() if isinstance(number, int) else None
    if item is None:
        raise Http404("This image is no longer in the queue of this dataset.")
    key = _key(one.get("key"))
    repeated = Verdict.everything.filter(key=key).exists()
    escalate(
        dataset=access.dataset,
        images=[item.image_id],
        person=request.user,
        key=key,
        note=str(one.get("note") or ""),
        seconds=_seconds(one.get("seconds")),
        blind=one.get("blind") is True,
    )
    if not repeated:
        Care(request.user).count_seen(item)
    return "Escalated: it is out of sight.", None, None


_CARRY_OUT: dict[str, Callable[..., _Carried]] = {"skip": _skip, "undo": _undo, "escalate": _escalate}


def _item(access: DatasetAccess, number: Any) -> ReviewItem:
    items = ReviewItem.objects.select_related("image__dataset", "image__given_class", "suggested_class", "dataset")
    item = items.filter(dataset=access.dataset, pk=number).first() if isinstance(number, int) else None
    if item is None:
        raise Http404("This image is no longer in the queue of this dataset.")
    return item


def _key(text: Any) -> UUID:
    try:
        return UUID(str(text))
    except ValueError as error:
        raise _Unreadable("Expected a key. Reload the page.") from error


def _seconds(text: Any) -> float | None:
    try:
        seconds = float(str(text))
    except ValueError:
        return None
    return seconds if 0 <= seconds < 86_400 else None


def _item_numbers(sent: Any) -> frozenset[int]:
    if not isinstance(sent, list) or not all(isinstance(one, int) for one in sent):
        raise _Unreadable("Expected a list of item numbers. Reload the page.")
    return frozenset(sent[-_MOST_ON_THEIR_WAY:])


def _body(request: PersonRequest) -> dict[str, Any]:
    try:
        body = json.loads(request.body)
    except ValueError as error:
        raise _Unreadable("Expected JSON. Reload the page.") from error
    if not isinstance(body, dict):
        raise _Unreadable("Expected a JSON object. Reload the page.")
    return body


def _sender(request: PersonRequest) -> str:
    """Who decided, as the page knows it: a queue outlives a session, and the next one may be another person's."""
    return request.headers.get("X-Winnow-Person", "")


def _refusal(status: int, why: str) -> JsonResponse:
    return JsonResponse({"why": why}, status=status)
