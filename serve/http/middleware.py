"""What every request passes: a request id, an unchanged path, a measurement, a last resort."""

import logging
import re
import uuid
from contextvars import ContextVar

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.http.problems import problem_of, respond
from serve.observe.requests import TIMING, Observer

log = logging.getLogger("ray.serve")

HEADER = "X-Request-Id"
_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")

request_id: ContextVar[str] = ContextVar("request_id", default="")


class Frame:
    """The outermost layer of the application.

    `echoed` says that the server around it already answers with the `X-Request-Id` it was given
    (Ray Serve does).
    """

    def __init__(self, app: ASGIApp, *, observer: Observer, echoed: bool = False) -> None:
        self._app = app
        self._observer = observer
        self._echoed = echoed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        sane = _SANE.fullmatch(given) is not None
        chosen = given if sane else uuid.uuid4().hex
        request_id.set(chosen)
        name_it = not (self._echoed and sane)
        started = False
        seen = self._observer.begin()
        inner = encoded(scope)

        async def send_named(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                seen.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[TIMING] = seen.timing()
                if name_it:
                    headers[HEADER] = chosen
            await send(message)

        try:
            await self._app(inner, receive, send_named)
        except Exception as error:
            log.exception("request_failed request_id=%s", chosen)
            if started:
                raise
            await respond(problem_of(error), chosen)(scope, receive, send_named)
        finally:
            self._observer.end(seen, inner, chosen)


def encoded(scope: Scope) -> Scope:
    """The scope with its path as it was sent, so that an id may hold an encoded slash."""
    raw: bytes | None = scope.get("raw_path")
    if raw is None:
        return scope
    return {**scope, "path": raw.partition(b"?")[0].decode("ascii", "replace")}
