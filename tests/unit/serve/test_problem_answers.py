"""Errors as problems: stable codes and statuses, and nothing of a stranger's message."""

import json

import pytest

from llmrec_ray import errors
from llmrec_ray.errors import LLMRecError
from serve.http.problems import Problem, problem_of, respond


def every_error(root: type[LLMRecError] = LLMRecError) -> list[type[LLMRecError]]:
    return [root, *(found for kind in root.__subclasses__() for found in every_error(kind))]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.InvalidInput("no"), 422, "invalid_input"),
        (errors.InvalidFilter("no"), 422, "invalid_filter"),
        (errors.TooLarge("no"), 413, "too_large"),
        (errors.ItemNotFound("no"), 404, "item_not_found"),
        (errors.GenerationNotFound("no"), 404, "generation_not_found"),
        (errors.EventConflict("no"), 409, "event_conflict"),
        (errors.EncoderMismatch("no"), 409, "encoder_mismatch"),
        (errors.Overloaded("no"), 429, "overloaded"),
        (errors.EmbedderUnavailable("no"), 503, "embedder_unavailable"),
        (errors.EventStoreUnavailable("no"), 503, "event_store_unavailable"),
        (errors.SearchUnavailable("no"), 503, "search_unavailable"),
        (errors.GenerationMissing("no"), 503, "generation_missing"),
        (errors.NotReady("no"), 503, "not_ready"),
    ],
)
def test_an_error_has_its_status_and_code(error: LLMRecError, status: int, code: str) -> None:
    answer = respond(problem_of(error), "r1")
    told = json.loads(bytes(answer.body))
    assert answer.status_code == told["status"] == status
    assert told["code"] == code
    assert told["type"] == f"urn:llmrec:problem:{code.replace('_', '-')}"
    assert told["detail"] == "no"
    assert told["request_id"] == "r1"
    assert answer.media_type == "application/problem+json"
    assert ("retry-after" in answer.headers) == (status in {429, 503})


def test_every_error_that_says_try_again_says_when() -> None:
    for kind in every_error(errors.Unavailable):
        if kind.__module__ == errors.__name__:
            assert "retry-after" in respond(problem_of(kind("later")), "r1").headers


@pytest.mark.parametrize("error", [RuntimeError("password=1"), errors.Corrupt("/secret/path")])
def test_what_a_client_cannot_act_on_is_not_told(error: Exception) -> None:
    problem = problem_of(error)
    assert problem.code == "internal"
    assert str(error) not in str(problem)
    assert respond(problem, "r1").status_code == 500


def test_a_problem_stays_itself() -> None:
    problem = Problem("unsupported_media_type", "send JSON")
    assert problem_of(problem) is problem
