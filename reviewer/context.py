"""What every page knows about the person who looks at it."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from labeling.models import Person
from labeling.queries.wellness import ComfortSettings, comfort_of


def comfort(request: HttpRequest) -> dict[str, Any]:
    """`comfort`: the settings that apply to this person; asked of the database only where a template needs it."""

    def asked() -> ComfortSettings:
        return comfort_of(request.user) if isinstance(request.user, Person) else ComfortSettings()

    return {"comfort": SimpleLazyObject(asked)}
