"""What the OpenAPI description promises holds for whatever schemathesis makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.conf import settings as django_settings
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.test import override_settings
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi import checks

from labeling.actions.tokens import MOST_PER_MINUTE, make_token
from labeling.actions.workers import beat
from labeling.models import Dataset, ModelVersion, Scope
from tests.reviewer.api_parts import small_picture

pytestmark = pytest.mark.django_db
# Otherwise hardly any form would hold a picture.
schemathesis.openapi.format("binary", st.just(small_picture()))
# WhiteNoise warns about a folder that `collectstatic` has not made yet, and warnings are errors here.
django_settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
schema = schemathesis.openapi.from_wsgi("/api/openapi.json", get_wsgi_application())
schema.config.generation.update(max_examples=12)


@pytest.fixture
def token(looks: Dataset, model: ModelVersion) -> Iterator[str]:
    _, text = make_token(dataset=looks, name="fuzz", scopes=list(Scope), per_minute=MOST_PER_MINUTE)
    beat()
    # As Django's own test client does: the connection holds the test's transaction.
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    with override_settings(ALLOWED_HOSTS=["*"]):
        yield text
    for signal in signals:
        signal.connect(close_old_connections)


@schema.parametrize()
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
def test_every_answer_is_one_that_the_schema_describes(case: Any, token: str) -> None:
    # That a file is a picture, and a URL one that may be fetched, no schema can say: valid data is refused too.
    case.call_and_validate(
        headers={"Authorization": f"Bearer {token}"}, excluded_checks=[checks.positive_data_acceptance]
    )
