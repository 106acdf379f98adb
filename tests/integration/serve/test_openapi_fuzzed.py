"""Requests made from the OpenAPI document, fitting and not: the service keeps what it promises."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from tests.support.service import House

CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)
BOUNDS = settings(
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
        HealthCheck.data_too_large,
    ],
)


@pytest.fixture
def schema(houses: Callable[..., House]) -> Any:
    house = houses()
    asyncio.run(house.take_up())
    return schemathesis.openapi.from_asgi("/openapi.json", house.app)


def fuzz(schema: Any, examples: int) -> Counter[str]:
    """Send that many requests to each operation, half of them wrong on purpose; count them."""
    load_all_checks()
    checks = CHECKS.get_by_names(CHECKED)
    sent: Counter[str] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()
        cases = st.one_of(
            operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
            operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
        )

        def hold(case: Any) -> None:
            sent[case.operation.label] += 1
            case.call_and_validate(checks=checks)

        seed(1)(settings(BOUNDS, max_examples=examples)(given(cases)(hold)))()
    return sent


def test_every_operation_answers_any_request_as_documented(schema: Any) -> None:
    sent = fuzz(schema, examples=25)
    assert set(sent) == {one.ok().label for one in schema.get_all_operations()}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_operation_answers_very_many_requests_as_documented(schema: Any) -> None:
    sent = fuzz(schema, examples=500)
    assert min(sent.values()) > 0
