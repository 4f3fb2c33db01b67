"""A whole sandbox in a thread of its own, on free ports, paused unless asked otherwise."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from starlette.types import ASGIApp, Message

from services.sandbox.app import Sandbox, open_sandbox
from services.sandbox.world import World


@dataclass(frozen=True, slots=True)
class Running:
    """A sandbox that serves."""

    sandbox: Sandbox
    base: str  # of the vendors' port: append /massive and so on
    control: str
    session: requests.Session

    @property
    def world(self) -> World:
        """To look at while it is paused; to move it, `step`."""
        return self.sandbox.world

    def step(self, *, windows: int | None = None, seconds: float | None = None) -> Any:
        """Move the world; answers as GET /time."""
        by = {"windows": windows} if windows is not None else {"seconds": seconds}
        reply = self.session.post(f"{self.control}/step", json=by, timeout=60)
        reply.raise_for_status()
        return reply.json()

    def faults(self, *faults: dict[str, Any]) -> None:
        """Make vendors misbehave."""
        url = f"{self.control}/faults"
        self.session.post(url, json=list(faults), timeout=5).raise_for_status()


@contextmanager
def running(**options: Any) -> Iterator[Running]:
    """Start as `open_sandbox(**options)` does, and stop at the end."""
    asked = {"port": 0, "control_port": 0, "running": False, **options}
    sandbox = open_sandbox(**asked)
    stop: list[Callable[[], None]] = []
    ready = threading.Event()
    failures: list[BaseException] = []

    def on_ready(stopping: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(stopping) and None)
        ready.set()

    def work() -> None:
        try:
            asyncio.run(sandbox.run(on_ready))
        except BaseException as error:
            failures.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=work, name="sandbox", daemon=True)
    thread.start()
    assert ready.wait(30), "the sandbox did not start"
    try:
        if stop:
            with requests.Session() as session:
                session.trust_env = False
                yield Running(sandbox, *sandbox.addresses(), session)
    finally:
        if stop:
            stop[0]()
        thread.join(15)
    assert not thread.is_alive(), "the sandbox did not stop"
    if failures:
        raise failures[0]


@dataclass(frozen=True, slots=True)
class Reply:
    """What an application answered."""

    status: int
    headers: dict[str, str]
    content: bytes

    def json(self) -> Any:
        """The body as a value."""
        return json.loads(self.content)


def ask(
    app: ASGIApp, path: str, key: str = "sandbox", method: str = "GET", body: object = None
) -> Reply:
    """One request to an application, without a network; the key goes wherever vendors look."""
    url = urlsplit(path)
    names = {"authorization": f"Bearer {key}", "host": "127.0.0.1:8600"}
    names |= {"apca-api-key-id": key, "apca-api-secret-key": key}
    names |= {"content-type": "application/json"}
    headers = [(name.encode(), value.encode()) for name, value in names.items()]
    where = {
        "path": url.path,
        "query_string": url.query.encode(),
        "root_path": "",
        "scheme": "http",
    }
    scope = {"type": "http", "method": method, "headers": headers, **where}
    content = json.dumps(body).encode() if body is not None else b""
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": content}

    async def send(message: Message) -> None:
        messages.append(message)

    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    told = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
    parts = b"".join(message.get("body", b"") for message in messages[1:])
    return Reply(messages[0]["status"], told, parts)
