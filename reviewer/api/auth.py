"""Who may call what: a token of a dataset, or nobody in particular where API_ANONYMOUS opens the stateless routes."""

from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest
from ninja.security import HttpBearer

from labeling.actions.tokens import CallCounter, check_token
from labeling.models import ApiToken, Scope
from reviewer.api.problems import Problem

_calls = CallCounter()


@dataclass(frozen=True)
class Caller:
    """Whose request this is; `token` is None for an anonymous one."""

    token: ApiToken | None


class ApiRequest(HttpRequest):
    """A request as the API's views see it."""

    auth: Caller


class Token(HttpBearer):
    """Takes `Authorization: Bearer TOKEN`, of a token that has the scope and calls left in this minute."""

    def __init__(self, scope: Scope, *, stateless: bool = False) -> None:
        super().__init__()
        self._scope = scope
        self._stateless = stateless

    def __call__(self, request: HttpRequest) -> Caller | None:
        if self._stateless and settings.API_ANONYMOUS and "Authorization" not in request.headers:
            return Caller(None)
        found: Caller | None = super().__call__(request)
        return found

    def authenticate(self, request: HttpRequest, token: str) -> Caller:
        known = check_token(token.strip(), self._scope)
        wait = _calls.take(known)
        if wait is not None:
            raise Problem(
                429,
                "rate_limited",
                f"Expected at most {known.per_minute:,} calls a minute with this token. Go on in {wait:.0f} seconds.",
                {"Retry-After": str(max(1, round(wait + 0.5)))},
            )
        return Caller(known)
