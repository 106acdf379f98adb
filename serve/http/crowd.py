"""Requests in, as many as a replica answers at once on to the application; 429 to the others.

Ray Serve bounds what reaches a replica (`max_ongoing_requests`, `max_queued_requests`) and answers
the rest in plain text; this bound holds under any server, and answers with a problem.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from serve.http.middleware import request_id
from serve.http.problems import Problem, respond

PROBES = {"/livez", "/readyz"}
"""Never refused: a replica that is busy is not a replica that is dead."""


class Crowd:
    """Counts the requests that are in flight, streams until their end."""

    def __init__(self, app: ASGIApp, *, most: int) -> None:
        self._app = app
        self._most = most
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        if self._inside >= self._most:
            problem = Problem(
                "overloaded",
                f"{self._most} requests are being answered already; try again in a moment.",
            )
            await respond(problem, request_id.get())(scope, receive, send)
            return
        self._inside += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._inside -= 1
