"""A request's key in; whether it may pass, and when it may come again, out.

A route belongs to the router of its scope: `read`, `write` or `admin`. Without keys everybody is
one caller, `anonymous`, who may do everything.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import APIRouter, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from llmrec_ray.api_keys import ApiKey, Keyring, KeyScope
from llmrec_ray.errors import InvalidSettings
from llmrec_ray.settings import LimitSettings
from serve.http.middleware import request_id
from serve.http.problems import Problem, documented
from serve.http.rates import Buckets

log = logging.getLogger("ray.serve")

HEADER = "X-API-Key"
ANONYMOUS = "anonymous"
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="llmrec"'}
_HOW = f"Send one as `Authorization: Bearer KEY` or `{HEADER}: KEY`."

_bearer = HTTPBearer(
    auto_error=False, scheme_name="bearer", description="An API key, where the service has keys."
)
_header = APIKeyHeader(
    name=HEADER, auto_error=False, scheme_name="header", description="The same key, other header."
)


class Gate:
    """Stands before the routes of every router that it makes."""

    def __init__(
        self,
        keys: Keyring,
        limits: LimitSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._clock = clock
        rate = limits.requests_per_s
        self._buckets = Buckets(rate, limits.burst) if rate is not None else None

    def router(self, scope: KeyScope) -> APIRouter:
        """A router whose routes need this scope, and say so in the OpenAPI document."""

        async def check(
            bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
            header: Annotated[str | None, Security(_header)],
        ) -> None:
            shown = {bearer.credentials} if bearer else set[str]()
            self._pass(shown | ({header} if header else set[str]()), scope)

        return APIRouter(
            dependencies=[Security(check, scopes=[scope])],
            responses=documented("unauthorized", "forbidden", "rate_limited"),
        )

    def _pass(self, shown: set[str], scope: KeyScope) -> None:
        """Raises the problem where the caller is unknown, too fast, or not allowed."""
        key = self._caller(shown) if self._keys.required else None
        name = key.name if key else ANONYMOUS
        self._require_pace(name)
        if key is not None and not key.allows(scope):
            log.info("key_forbidden key=%s scope=%s request_id=%s", name, scope, request_id.get())
            raise Problem(
                "forbidden",
                f"This needs the scope `{scope}`, and the key `{name}` has"
                f" {', '.join(f'`{one}`' for one in sorted(key.scopes))}. Use another key.",
            )

    def _caller(self, shown: set[str]) -> ApiKey:
        if not shown:
            raise Problem("unauthorized", f"This needs an API key. {_HOW}", headers=_CHALLENGE)
        key = self._keys.find(next(iter(shown))) if len(shown) == 1 else None
        if key is None:
            log.info("key_unknown request_id=%s", request_id.get())
            told = "This key is not known." if len(shown) == 1 else "Two keys were sent."
            raise Problem("unauthorized", f"{told} {_HOW}", headers=_CHALLENGE)
        return key

    def _require_pace(self, name: str) -> None:
        wait = self._buckets.take(name, self._clock()) if self._buckets else 0.0
        if wait:
            seconds = math.ceil(wait)
            raise Problem(
                "rate_limited",
                f"`{name}` sends more requests than it may; try again in {seconds} s.",
                headers={"Retry-After": str(seconds)},
            )


async def follow_keys(
    keys: Keyring, load: Callable[[], Sequence[ApiKey]], every_s: float = 10.0
) -> None:
    """Read the keys again and again: one that is added or taken away counts without a restart."""
    while True:
        await asyncio.sleep(every_s)
        await reread_keys(keys, load)


async def reread_keys(keys: Keyring, load: Callable[[], Sequence[ApiKey]]) -> None:
    """Put what is read in force; a list that cannot be used leaves the old keys in force."""
    try:
        keys.replace(await asyncio.to_thread(load))
    except InvalidSettings as error:
        log.error("keys_not_read error=%s", error)  # noqa: TRY400 the message says it all
