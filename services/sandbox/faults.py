"""Faults on demand: what a vendor does on a bad day, in front of every stand-in."""

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Kind = Literal["status", "delay", "drop_before", "drop_after", "garbage"]
GARBAGE = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


class Fault(BaseModel):
    """One way to misbehave, for requests whose path begins with a prefix."""

    model_config = ConfigDict(extra="forbid")

    prefix: str = Field(pattern="^/")
    kind: Kind
    method: str | None = None  # None: any, also a WebSocket's handshake
    status: int = Field(503, ge=100, le=599)
    body: str = ""
    headers: dict[str, str] = {}
    delay: float = Field(0.0, ge=0, le=600)  # seconds, real time
    times: int | None = Field(None, ge=1)  # None: until it is taken away

    def strikes(self, scope: Scope) -> bool:
        """Whether a request is meant."""
        method = scope.get("method", "GET")
        return scope["path"].startswith(self.prefix) and self.method in (None, method)


class Faults:
    """The faults in force, and the WebSockets that one of them may cut."""

    def __init__(self) -> None:
        self.active: list[Fault] = []
        self.cuts: dict[asyncio.Event, str] = {}  # path of each open WebSocket

    def add(self, faults: Sequence[Fault]) -> None:
        """Put into force; dropping a WebSocket's path cuts those that are open."""
        self.active += [fault.model_copy() for fault in faults]
        for fault in faults:
            if fault.kind.startswith("drop") and fault.method in (None, "GET"):
                self.cut(fault.prefix)

    def cut(self, prefix: str) -> None:
        """End open WebSockets."""
        for event, path in self.cuts.items():
            if path.startswith(prefix):
                event.set()

    def clear(self) -> None:
        """Behave again."""
        self.active.clear()

    def take(self, scope: Scope) -> Fault | None:
        """The first fault that strikes a request, counted down."""
        for i, fault in enumerate(self.active):
            if fault.strikes(scope):
                if fault.times is not None:
                    fault.times -= 1
                    if not fault.times:
                        del self.active[i]
                return fault
        return None


async def hang_up(receive: Receive, send: Send) -> None:
    """Close the connection without a word of HTTP, as a proxy that dies does."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        raise ConnectionResetError("the connection was dropped on demand")
    transport.close()
    while (await receive())["type"] != "http.disconnect":
        pass


async def reply(send: Send, status: int, body: str, headers: dict[str, str]) -> None:
    """One plain answer."""
    content = body.encode()
    named = {"content-type": "text/html", **{k.lower(): v for k, v in headers.items()}}
    named["content-length"] = str(len(content))
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in named.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": content})


async def unheard(message: Message) -> None:
    """Where an answer goes that nobody will read."""


def answer_of(fault: Fault) -> tuple[int, str, dict[str, str]]:
    """Status, body and headers that take the place of the vendor's."""
    if fault.kind == "garbage":
        return 200, fault.body or GARBAGE, fault.headers
    looks = "application/json" if fault.body.lstrip().startswith(("{", "[")) else "text/html"
    return fault.status, fault.body, {"content-type": looks, **fault.headers}


class Misbehaviour:
    """ASGI middleware that applies the faults in force."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self.app, self.faults = app, faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or not."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        fault = self.faults.take(scope)
        if scope["type"] == "websocket":
            return await self.socket(fault, scope, receive, send)
        if fault is None:
            return await self.app(scope, receive, send)
        await self.misbehave(fault, scope, receive, send)

    async def misbehave(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        """One bad answer, or none."""
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.kind == "delay":
            await self.app(scope, receive, send)
        elif fault.kind == "drop_before":
            await hang_up(receive, send)
        elif fault.kind == "drop_after":
            await self.app(scope, receive, unheard)
            await hang_up(receive, send)
        else:
            await reply(send, *answer_of(fault))

    async def socket(self, fault: Fault | None, scope: Scope, receive: Receive, send: Send) -> None:
        """A WebSocket: refused, late, or open until it is cut."""
        if fault and fault.delay:
            await asyncio.sleep(fault.delay)
        if fault and fault.kind != "delay":
            await receive()
            await send({"type": "websocket.close", "code": 1011})
            return
        event = asyncio.Event()
        self.faults.cuts[event] = scope["path"]
        try:
            await self.app(scope, cuttable(receive, event), send)
        finally:
            del self.faults.cuts[event]


def cuttable(receive: Receive, event: asyncio.Event) -> Receive:
    """The same messages until the event, which looks like a lost connection."""

    async def heard() -> Message:
        tasks: list[asyncio.Task[Any]] = [
            asyncio.ensure_future(receive()),
            asyncio.ensure_future(event.wait()),
        ]
        done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if tasks[0] in done and not event.is_set():
            message: Message = tasks[0].result()
            return message
        return {"type": "websocket.disconnect", "code": 1006}

    return heard
