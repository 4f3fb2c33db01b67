"""One conversation over a WebSocket, from the first message to the reason it ended."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.exc import SQLAlchemyError

from argo_alpine.domain import Refused
from services.alpine import feed
from services.alpine.accounts import User, digest_of
from services.alpine.doors import Doors
from services.alpine.hub import FULL, GONE, SLOW, Client, Frame, Hub
from services.common import logs

log = logs.logger("socket")

FIRST = 10.0  # seconds until somebody says who he is
SEND = 5.0  # seconds a message may take
STRANGERS = 200  # at once
FORBIDDEN, BROKEN = 4403, 1011


class Hello(BaseModel):
    """The first message."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    token: Annotated[str, Field(max_length=128)]
    resume_from: Annotated[int, Field(ge=0, lt=2**63)] | None = None


class Ended(Exception):
    """A conversation that is over, and why."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Talk:
    """What every conversation needs."""

    def __init__(self, hub: Hub, doors: Doors, origins: Sequence[str]) -> None:
        self.hub, self.doors, self.origins = hub, doors, frozenset(origins)
        self.strangers = 0

    async def serve(self, socket: WebSocket) -> None:
        """Listen once, then tell until one of us leaves."""
        if not self.is_welcome(socket) or self.strangers >= STRANGERS:
            return await socket.close(FORBIDDEN)  # before it is accepted: HTTP 403
        await socket.accept()
        code = 1000
        try:
            hello, user = await self.introduced(socket)
            code = await self.subscribed(socket, hello, user)
        except Ended as ended:
            code = ended.code
        except (SQLAlchemyError, TimeoutError) as error:
            log.error("socket_failed", exc_info=error)
            code = BROKEN
        except (WebSocketDisconnect, RuntimeError):
            return  # it left while we were talking
        with suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
            await asyncio.wait_for(socket.close(code), SEND)

    def is_welcome(self, socket: WebSocket) -> bool:
        """Whether the page that opened it is one of ours; programs name none."""
        origin = socket.headers.get("origin")
        own = urlsplit(origin or "").netloc == socket.headers.get("host", "")
        return origin is None or origin in self.origins or own

    async def introduced(self, socket: WebSocket) -> tuple[Hello, User]:
        """Who it is. *Raises* `Ended`."""
        self.strangers += 1
        try:
            said = await asyncio.wait_for(socket.receive(), FIRST)
            if said["type"] != "websocket.receive":
                raise WebSocketDisconnect(said.get("code", 1005))
            hello = Hello.model_validate_json(said.get("text") or "")
            return hello, await asyncio.to_thread(self.doors.enter, hello.token)
        except (TimeoutError, ValidationError, Refused) as error:
            raise Ended(GONE) from error
        finally:
            self.strangers -= 1

    async def subscribed(self, socket: WebSocket, hello: Hello, user: User) -> int:
        """Tell until it is over; the code to close with. *Raises* `Ended`."""
        plan = self.hub.plans[user.plan]
        if not plan.push:
            raise Ended(FORBIDDEN)
        # whoever has read the store must not know more than we are about to tell
        await self.hub.caught_up()
        client = Client(user, plan, digest_of(hello.token))
        if not self.hub.join(client):
            raise Ended(FULL)
        head = self.hub.head  # what came before it, and only that, is read from the store
        try:
            await self.welcome(socket, client, hello.resume_from, head)
            return await self.told(socket, client)
        finally:
            self.hub.leave(client)

    async def welcome(
        self, socket: WebSocket, client: Client, since: int | None, head: int
    ) -> None:
        """The head, and what was missed."""
        sandbox = await asyncio.to_thread(self.is_sandbox)
        await send(socket, {"type": "hello", "head": head, "sandbox": sandbox})
        if since is None:
            return
        missed = None if since > head else await self.hub.missed(client, since, head)
        for frame in [{"type": "snapshot_required"}] if missed is None else missed:
            await send(socket, frame)

    def is_sandbox(self) -> bool:
        """Whether what is told comes from a sandbox."""
        with self.hub.database.sessions() as session:
            return feed.is_sandbox(session)

    async def told(self, socket: WebSocket, client: Client) -> int:
        """Tell and listen, until one side ends it."""
        parts = {
            asyncio.create_task(part)
            for part in (writing(socket, client), reading(socket), ending(client))
        }
        done, rest = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        return min(task.result() for task in done)


async def send(socket: WebSocket, frame: Frame) -> None:
    """A message. *Raises* `Ended` when the other side does not read."""
    try:
        await asyncio.wait_for(socket.send_text(json.dumps(frame, allow_nan=False)), SEND)
    except TimeoutError as error:
        raise Ended(SLOW) from error


async def writing(socket: WebSocket, client: Client) -> int:
    """Send what is offered."""
    while True:
        await send(socket, await client.queue.get())


async def reading(socket: WebSocket) -> int:
    """Nothing is expected of the other side but to stay."""
    said: Any = await socket.receive()
    if said["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(said.get("code", 1005))
    return 1003


async def ending(client: Client) -> int:
    """We have a reason to end it."""
    await client.ended.wait()
    return client.code
