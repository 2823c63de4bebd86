"""The HTTP API: the routes that the clients of other systems call, and those of Winnow's own.

It is mounted at the root, since those clients expect it there. `urls` leaves out ninja's own start page.
"""

from typing import Any

from ninja import NinjaAPI

from reviewer.api import moderation, reporting, routes
from reviewer.api.problems import answer_with_problems

api = NinjaAPI(
    title="Winnow",
    version="1",
    description=(
        "Answers what a model says of a picture, moderates it by a dataset's policy, and takes reports of mistakes. "
        "Every answer that is no success is an object with `code` and `message`."
    ),
    urls_namespace="api",
    openapi_url="/api/openapi.json",
    docs_url="/api/docs",
)
api.add_router("", routes.router)
api.add_router("", moderation.router)
api.add_router("", reporting.router)
answer_with_problems(api)


def _urls() -> tuple[list[Any], str, str]:
    patterns, app, namespace = api.urls
    for pattern in patterns:
        # Tokens decide, not sessions; no route of the API looks at a cookie.
        vars(pattern.callback)["login_required"] = False
    return patterns, app, namespace


urls = _urls()
