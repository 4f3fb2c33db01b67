"""What surrounds every answer: headers, an id, limits, and errors that tell nothing."""

import asyncio
import json
import re
import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from argo_alpine.domain import InvalidJournal
from services.alpine.accounts import RefusedFlood, RefusedSignIn
from services.common import logs
from services.common.clock import Clock

log = logs.logger("alpine")

BODY, INTAKE_BODY, INTAKE = 64 * 1024, 1024 * 1024, "/api/intake"
BODY_SECONDS = 10.0
SHUT = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
# a report brings its own script; it may draw, but not talk, and in a sandbox it is nobody
PAGE = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'"
)
HEADERS = {
    "content-security-policy": SHUT,
    "strict-transport-security": "max-age=31536000; includeSubDomains",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
REPORT = re.compile(r"/api/(backtests/[^/]+/report|reports/[^/]+)")


class Shell:
    """The outermost layer: an id and headers on every answer, and never a traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, whatever happens inside."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        name, begun = secrets.token_hex(8), False
        scope.setdefault("state", {})["id"] = name

        async def out(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                dress(MutableHeaders(scope=message), name, scope["path"], message["status"])
            await send(message)

        try:
            await self.app(scope, receive, out)
        except Exception as error:
            log.error("request_failed", id=name, path=scope["path"], exc_info=error)
            if begun:
                raise
            await refusal(500, "something went wrong: look for this id in the log", name)(
                scope, receive, out
            )


def dress(headers: MutableHeaders, name: str, path: str, status: int) -> None:
    """Put on what every answer wears."""
    for key, value in HEADERS.items():
        headers[key] = value
    if status == 200 and REPORT.fullmatch(path) and "html" in headers.get("content-type", ""):
        headers["content-security-policy"] = PAGE
    headers["x-request-id"] = name


def refusal(
    status: int, words: str, name: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """An error as every route answers it."""
    return JSONResponse({"detail": words, "id": name}, status, headers=dict(headers or {}))


class Buckets:
    """So many questions a second from one address, and a reserve; the idle are forgotten."""

    def __init__(self, clock: Clock, rate: float, reserve: float, most: int = 10_000) -> None:
        self.clock, self.rate, self.reserve, self.most = clock, rate, reserve, most
        self.left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, when

    def wait(self, key: str) -> float:
        """Seconds to wait; 0 takes one."""
        now = self.clock.monotonic()
        tokens, since = self.left.pop(key, (self.reserve, now))
        tokens = min(self.reserve, tokens + (now - since) * self.rate)
        is_fine = tokens >= 1
        self.left[key] = (tokens - 1 if is_fine else tokens, now)
        if len(self.left) > self.most:
            self.left.popitem(last=False)
        return 0.0 if is_fine else (1 - tokens) / self.rate


class TooLarge(Exception):
    """A body beyond its limit."""


class Limits:
    """Refuse floods, and bodies that are too large or never end."""

    def __init__(self, app: ASGIApp, buckets: Buckets) -> None:
        self.app, self.buckets = app, buckets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body before anybody else sees the request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        is_intake, name = scope["path"] == INTAKE, scope["state"]["id"]
        wait = self.buckets.wait(f"{is_intake}:{(scope.get('client') or ('',))[0]}")
        if wait:
            answer = refusal(429, "too many questions: wait", name, {"retry-after": after(wait)})
            return await answer(scope, receive, send)
        try:
            most = INTAKE_BODY if is_intake else BODY
            body = await asyncio.wait_for(read(scope, receive, most), BODY_SECONDS)
        except TooLarge:
            return await refusal(413, f"the body is larger than {most} bytes", name)(
                scope, receive, send
            )
        except TimeoutError:
            return await refusal(408, "the body did not arrive in time", name)(scope, receive, send)
        if body is not None:
            await self.app(scope, again(body, receive), send)


def after(seconds: float) -> str:
    """A header's value."""
    return str(max(1, int(seconds + 0.999)))


async def read(scope: Scope, receive: Receive, most: int) -> bytes | None:
    """The body; None when the client has gone. *Raises* `TooLarge`."""
    said = dict(scope["headers"]).get(b"content-length", b"0")
    if said.isdigit() and int(said) > most:
        raise TooLarge
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise TooLarge
        if not message.get("more_body", False):
            return b"".join(parts)


def again(body: bytes, receive: Receive) -> Receive:
    """The body once more, then what comes after it."""
    is_read = False

    async def replay() -> Message:
        nonlocal is_read
        if is_read:
            return await receive()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


# -- errors ----------------------------------------------------------------------------------------


def said_id(request: Request) -> str:
    """The id of a request."""
    return str(request.scope.get("state", {}).get("id", ""))


def spoken(request: Request, error: HTTPException) -> JSONResponse:
    """What a route refuses in words."""
    return refusal(error.status_code, str(error.detail), said_id(request), error.headers)


def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
    """Which key is wrong, and how; never what it was."""
    return refusal(422, "; ".join(lines(error.errors())), said_id(request))


def lines(errors: Sequence[Any]) -> list[str]:
    """One short text for each of the first errors."""
    return [
        f"{json.dumps('.'.join(map(str, e['loc'][1:]))[:60])[1:-1]}: {e['msg'][:120]}"
        for e in errors[:5]
    ]


def outside(request: Request, error: RefusedSignIn) -> JSONResponse:
    """Not signed in."""
    return refusal(401, str(error), said_id(request), {"www-authenticate": "Bearer"})


def flooded(request: Request, error: RefusedFlood) -> JSONResponse:
    """Too often."""
    return refusal(429, str(error), said_id(request), {"retry-after": after(error.seconds)})


def broken(request: Request, error: Exception) -> JSONResponse:
    """The store does not answer: nothing is made up instead."""
    log.error("store_broken", id=said_id(request), path=request.url.path, exc_info=error)
    words = "the store cannot be read: try again, or look for this id in the log"
    return refusal(503, words, said_id(request), {"retry-after": "1"})


def guard(app: FastAPI) -> None:
    """Give every kind of error its answer."""
    handlers: dict[Any, Any] = {
        HTTPException: spoken,
        RequestValidationError: malformed,
        RefusedSignIn: outside,
        RefusedFlood: flooded,
        SQLAlchemyError: broken,
        InvalidJournal: broken,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
