"""The sandbox as a process: five stand-ins on one port, their control on another, on loopback."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from argo_alpine.bars import Bars
from argo_alpine.loading import load
from services.common.clock import Clock, SystemClock
from services.sandbox import alpaca, alpha_vantage, control, massive, perplexity, x_api
from services.sandbox.control import Pace
from services.sandbox.faults import Faults, Misbehaviour
from services.sandbox.replies import Answered, NotFound, answer, hexadecimal
from services.sandbox.server import Sandbox, bound, checked_host, load_state
from services.sandbox.world import DWELL, START, SYMBOLS, World

ALPACA_CALLS = 200  # a minute
UNLIMITED = 1_000_000_000  # calls
NO_DOCS: Mapping[str, Any] = {"docs_url": None, "redoc_url": None, "openapi_url": None}


def alpaca_not_found(path: str) -> Response:
    """Alpaca's answer to an unknown path."""
    return answer({"code": 40410000, "message": "endpoint not found."}, 404)


VENDORS: Mapping[str, NotFound] = {
    "/massive": massive.not_found,
    "/alpha_vantage": alpha_vantage.not_found,
    "/x": x_api.not_found,
    "/perplexity": perplexity.not_found,
    "/alpaca": alpaca_not_found,
}


def vendor_of(path: str) -> str:
    """The prefix of the vendor that a path belongs to; empty for none."""
    head = "/" + path.lstrip("/").partition("/")[0]
    return head if head in VENDORS else ""


class Wakening:
    """ASGI middleware: the first question to a vendor sets time going."""

    def __init__(self, app: ASGIApp, pace: Pace) -> None:
        self.app, self.pace = app, pace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Notice and pass on."""
        if self.pace.waiting and scope["type"] != "lifespan" and vendor_of(scope["path"]):
            self.pace.waiting = False
        await self.app(scope, receive, send)


async def answered(request: Request, error: Exception) -> Response:
    """A vendor's refusal."""
    assert isinstance(error, Answered)
    return error.response


async def refused(request: Request, error: Exception) -> Response:
    """An unknown path or method, in the words of whoever was asked."""
    assert isinstance(error, HTTPException)
    vendor = vendor_of(request.url.path)
    if vendor and error.status_code in (404, 405):
        return VENDORS[vendor](request.url.path)
    return answer({"detail": error.detail}, error.status_code)


async def misunderstood(request: Request, error: Exception) -> Response:
    """A parameter that does not parse, in the words of whoever was asked."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    text = f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}"
    if vendor_of(request.url.path) == "/massive":
        number = hexadecimal(request.url)
        return answer({"status": "ERROR", "request_id": number, "error": text}, 400)
    return answer({"code": 40010001, "message": text, "detail": text}, 422)


def create_app(
    world: World,
    pace: Pace | None = None,
    clock: Clock | None = None,
    limited: bool = True,
) -> FastAPI:
    """The vendors' port; who steps through months in seconds wants no limits in real time."""
    pace, clock = pace or Pace(), clock or SystemClock()
    app = FastAPI(title="SANDBOX", **NO_DOCS)
    app.state.world = world
    app.include_router(massive.router(world))
    for vendor in (alpha_vantage, x_api, perplexity):
        calls = () if limited else (UNLIMITED,)
        app.include_router(vendor.router(world, clock, *calls))
    app.include_router(alpaca.router(world, ALPACA_CALLS if limited else None, clock))
    app.add_exception_handler(Answered, answered)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, misunderstood)
    app.add_middleware(Wakening, pace=pace)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """What this is, and whether there is anything left to replay."""
        status = "ended" if world.ended else "ok"
        why = (
            "the recorded days are over, the market stays closed: use --fresh"
            if world.ended
            else ""
        )
        told = control.telling(world, pace)
        return {**told, "status": status, "detail": why, "label": "SANDBOX", "open": world.is_open}

    return app


def create_control(world: World, pace: Pace | None = None, faults: Faults | None = None) -> FastAPI:
    """The control port."""
    app = FastAPI(title="SANDBOX control", **NO_DOCS)
    app.include_router(control.router(world, pace or Pace(), faults or Faults()))
    return app


def open_sandbox(
    host: str = "127.0.0.1",
    port: int = 8600,
    control_port: int = 8601,
    dwell: float = DWELL,
    state: Path | None = None,
    fresh: bool = False,
    bars: Bars | None = None,
    start: date = START,
    running: bool = True,
    clock: Clock | None = None,
    limited: bool = True,
) -> Sandbox:
    """A sandbox with its ports bound. *Raises* `InvalidSettings`."""
    host = checked_host(host)
    with contextlib.ExitStack() as undo:
        main = undo.enter_context(bound(host, port, "--port"))
        side = undo.enter_context(bound(host, control_port, "--control-port"))
        world = World(bars or load(SYMBOLS), start, dwell)
        if state and not fresh:
            load_state(world, state)
            world.set_dwell(dwell)
        undo.pop_all()
    pace, faults, clock = Pace(running), Faults(), clock or SystemClock()
    # outermost, because to drop a connection it must see the server's own `send`
    vendors = Misbehaviour(create_app(world, pace, clock, limited), faults)
    apps = (vendors, create_control(world, pace, faults))
    return Sandbox(world, pace, faults, clock, apps, (main, side), state)


def serve(
    host: str = "127.0.0.1",
    port: int = 8600,
    control_port: int = 8601,
    dwell: float = DWELL,
    state: Path | None = None,
    fresh: bool = False,
    announce: Callable[[str], None] = print,
) -> None:
    """Serve until interrupted. *Raises* `InvalidSettings`."""
    sandbox = open_sandbox(host, port, control_port, dwell, state, fresh)

    def on_ready(stop: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        main, side = sandbox.addresses()
        announce(f"SANDBOX {main} (control {side}) at {sandbox.world.at:%Y-%m-%d %H:%M} UTC")

    asyncio.run(sandbox.run(on_ready))
