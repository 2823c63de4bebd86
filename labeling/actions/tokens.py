"""API tokens: making, checking, counting and revoking them."""

import hashlib
import hmac
import re
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from labeling.errors import TokenRefused, WrongUsage
from labeling.models import ApiToken, Dataset, Person, Scope

PER_MINUTE = 600
MOST_PER_MINUTE = 1_000_000
_BLOCKS_A_MINUTE = 32
_TEXT = re.compile(r"winnow_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


def make_token(
    *,
    dataset: Dataset,
    name: str,
    scopes: Sequence[str],
    per_minute: int = PER_MINUTE,
    expires_at: datetime | None = None,
    person: Person | None = None,
) -> tuple[ApiToken, str]:
    """Make a token.

    Args:
        name: what will use it, for people.
        scopes: what it may do; values of `Scope`, one or more.
        per_minute: calls a calendar minute, all server processes together.
        expires_at: from when on it is refused; None = never.

    Returns:
        the token, and its text, which is kept nowhere: who loses it makes another.

    Raises:
        WrongUsage: an empty name, no or an unknown scope, a rate out of range, or an expiry that is past.
    """
    if not name.strip() or len(name) > 100:
        raise WrongUsage("Expected a name of 1 to 100 characters that says what uses the token.")
    unknown = [scope for scope in scopes if scope not in Scope.values]
    if unknown or not scopes:
        raise WrongUsage(
            f"Expected scopes of {', '.join(Scope.values)}, received {', '.join(unknown) or 'none'}. "
            "Choose at least one."
        )
    if not 1 <= per_minute <= MOST_PER_MINUTE:
        raise WrongUsage(f"Expected 1 to {MOST_PER_MINUTE:,} calls a minute, received {per_minute:,}.")
    if expires_at is not None and expires_at <= timezone.now():
        raise WrongUsage("Expected an expiry in the future, received one that is past.")
    public, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    with transaction.atomic():
        token = ApiToken.objects.create(
            dataset=dataset,
            name=name.strip(),
            public_part=public,
            secret_sha256=_digest(secret),
            scopes=[scope for scope in Scope.values if scope in scopes],
            per_minute=per_minute,
            expires_at=expires_at,
            created_by=person,
        )
    return token, f"winnow_{public}_{secret}"


def revoke_token(*, token: ApiToken) -> bool:
    """Refuse the token from now on; True when it was not revoked before."""
    with transaction.atomic():
        return bool(ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()))


def check_token(text: str, scope: Scope) -> ApiToken:
    """The token of this text, with its dataset, where it may do what `scope` says.

    A fast hash is right here: the secret is 256 random bits, which nobody guesses, unlike a password.

    Raises:
        TokenRefused: `token_unknown` (also for a revoked one), `token_expired`, `scope_missing`.
    """
    parts = _TEXT.fullmatch(text)
    token = ApiToken.objects.select_related("dataset__taxonomy").filter(public_part=parts[1]).first() if parts else None
    secret_is_right = hmac.compare_digest(token.secret_sha256 if token else "", _digest(parts[2] if parts else ""))
    if token is None or not secret_is_right or token.revoked_at is not None:
        raise TokenRefused("token_unknown", "Expected a token of this installation that is not revoked; this is none.")
    if token.expires_at is not None and token.expires_at <= timezone.now():
        raise TokenRefused("token_expired", f"The token expired at {token.expires_at.isoformat()}. Ask for another.")
    if scope not in token.scopes:
        raise TokenRefused(
            "scope_missing",
            f"Expected a token with the scope {scope.value}, this one has {', '.join(token.scopes)}. Ask for another.",
        )
    return token


@dataclass
class _Block:
    minute: int
    left: int


class CallCounter:
    """Counts calls for one server process.

    Calls are taken from the database in blocks, of a thirty-second of the rate, so that few requests write. All
    processes together never take more than the rate; what a process took and did not use is lost with the minute.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks: dict[int, _Block] = {}

    def take(self, token: ApiToken, *, now: float | None = None) -> float | None:
        """Count a call; None when it may go on, else the seconds until the next minute."""
        moment = time.time() if now is None else now
        minute = int(moment // 60)
        with self._lock:
            block = self._blocks.get(token.pk)
            if block is not None and block.minute == minute and block.left:
                block.left -= 1
                return None
            size = max(1, token.per_minute // _BLOCKS_A_MINUTE)
            taken = _take_calls(token.pk, minute, size)
            if not taken:
                return (minute + 1) * 60 - moment
            self._blocks[token.pk] = _Block(minute, taken - 1)
            return None


def _take_calls(pk: int, minute: int, wanted: int) -> int:
    """Take up to `wanted` calls of the minute; how many there were."""
    now = timezone.now()
    with transaction.atomic():
        rows = ApiToken.objects.filter(pk=pk)
        rows.filter(minute__lt=minute).update(minute=minute, taken=0)
        for size in (wanted, 1) if wanted > 1 else (1,):
            free = rows.filter(taken__lte=F("per_minute") - size)
            if free.update(taken=F("taken") + size, last_used_at=now):
                return size
    return 0


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
