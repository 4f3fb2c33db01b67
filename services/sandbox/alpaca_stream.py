"""The broker's stream of trade updates: JSON in binary frames, nothing is ever replayed."""

import asyncio
import json
from typing import Any, Protocol

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from services.sandbox.alpaca_door import authenticated
from services.sandbox.exchange import Exchange
from services.sandbox.exchange_values import ApiError

STREAMS = ("trade_updates",)
PATIENCE = 1.0  # seconds between looks whether the broker was exchanged for another
GONE = 1012  # service restart
Json = dict[str, Any]


class World(Protocol):
    """What the stream needs to know of the world."""

    @property
    def exchange(self) -> Exchange:
        """The broker; another one after a restore."""


def framed(stream: str, data: Json) -> bytes:
    """One message."""
    return json.dumps({"stream": stream, "data": data}, separators=(",", ":")).encode()


def read(frame: str | bytes) -> Json:
    """A client's message; what is none asks for nothing."""
    try:
        found = json.loads(frame)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def credentials(message: Json) -> tuple[str, str] | None:
    """Key and secret, in the old form or the new; None when it is neither."""
    if message.get("action") == "auth":
        return str(message.get("key", "")), str(message.get("secret", ""))
    if message.get("action") == "authenticate":
        data = message.get("data") or {}
        return str(data.get("key_id", "")), str(data.get("secret_key", ""))
    return None


class Connection:
    """One client, from its first frame to its last."""

    def __init__(self, socket: WebSocket, exchange: Exchange) -> None:
        self.socket, self.exchange = socket, exchange
        self.frames: asyncio.Queue[bytes] = asyncio.Queue()
        self.loop = asyncio.get_running_loop()
        self.is_known = self.listens = False

    def hear(self, event: Json) -> None:
        """An event of the broker, from whatever thread."""
        if self.listens:
            frame = framed("trade_updates", event)
            self.loop.call_soon_threadsafe(self.frames.put_nowait, frame)

    async def receive(self) -> None:
        """Obey the client until it goes, or is sent away."""
        while True:
            message = await self.socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if not await self.obey(read(message.get("text") or message.get("bytes") or b"")):
                return

    async def obey(self, request: Json) -> bool:
        """One request; whether the client may stay."""
        action, given = str(request.get("action", "")), credentials(request)
        if given is not None:
            return await self.admit(action, *given)
        if not self.is_known:
            await self.say("authorization", {"status": "unauthorized", "action": action})
            return True
        if action == "listen":
            wanted = (request.get("data") or {}).get("streams") or []
            streams = [name for name in wanted if name in STREAMS]
            await self.say("listening", {"streams": streams})
            self.listens = bool(streams)
            return True
        await self.say("listening", {"error": f"unknown action {action!r}: use listen"})
        return True

    async def admit(self, action: str, key: str, secret: str) -> bool:
        """Check the credentials; whoever has wrong ones is sent away."""
        try:
            authenticated(key, secret)
        except ApiError:
            await self.say("authorization", {"status": "unauthorized", "action": action})
            await self.socket.close()
            return False
        self.is_known = True
        await self.say("authorization", {"status": "authorized", "action": action})
        return True

    async def say(self, stream: str, data: Json) -> None:
        """Answer, in the sequence of everything else that is sent."""
        await self.socket.send_bytes(framed(stream, data))

    async def send(self, world: World) -> None:
        """Pass on what is heard, as long as the broker is the same."""
        while True:
            try:
                frame = await asyncio.wait_for(self.frames.get(), PATIENCE)
            except TimeoutError:
                if world.exchange is not self.exchange:
                    await self.socket.close(GONE)
                    return
            else:
                await self.socket.send_bytes(frame)


async def serve(world: World, socket: WebSocket) -> None:
    """A connection from its beginning to its end."""
    connection = Connection(socket, world.exchange)
    unsubscribe = connection.exchange.subscribe(connection.hear)
    tasks = [
        asyncio.create_task(connection.receive()),
        asyncio.create_task(connection.send(world)),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        unsubscribe()
        for task in tasks:
            task.cancel()
    for task in done:
        error = task.exception()
        if error is not None and not isinstance(error, WebSocketDisconnect):
            raise error


def router(world: World) -> APIRouter:
    """The path of the stream."""
    routes = APIRouter()

    @routes.websocket("/stream")
    async def stream(socket: WebSocket) -> None:
        """Trade updates."""
        await socket.accept()
        await serve(world, socket)

    return routes
