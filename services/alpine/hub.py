"""Who listens at this moment, and who is told what: in order, without a gap, or not at all."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pydantic import TypeAdapter
from sqlalchemy.exc import SQLAlchemyError

from services.alpine import accounts, feed
from services.alpine.accounts import User
from services.alpine.feed import Asked, SignalView
from services.alpine.plans import Plan
from services.alpine.store import Database
from services.common import logs
from services.common.clock import Clock

log = logs.logger("hub")

QUEUE = 64  # messages that wait for one client
PER_ACCOUNT = 5
REPLAY = 1000  # missed signals that are sent again
BATCH = 200  # signals read at once
POLL = 0.5  # seconds; another instance may have taken something in
RECHECK = 30.0  # seconds
PATIENCE = 10.0  # seconds that catching up may take
SLOW, GONE, FULL, CLOSING = 1013, 4401, 4429, 1001

Frame: TypeAlias = Mapping[str, Any]
SHOWN = TypeAdapter(SignalView)  # as the routes write it


@dataclass(eq=False)
class Client:
    """One open socket."""

    user: User
    plan: Plan
    token: str  # its digest
    queue: asyncio.Queue[Frame] = field(default_factory=lambda: asyncio.Queue(QUEUE))
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    code: int = CLOSING

    def offer(self, frame: Frame) -> None:
        """Queue a message; whoever cannot keep up is closed, never skipped."""
        try:
            self.queue.put_nowait(frame)
        except asyncio.QueueFull:
            self.end(SLOW)

    def end(self, code: int) -> None:
        """Close it, for the first reason given."""
        if not self.ended.is_set():
            self.code = code
            self.ended.set()


class Hub:
    """Reads the feed once, and tells everybody."""

    def __init__(self, database: Database, clock: Clock, plans: Mapping[str, Plan]) -> None:
        self.database, self.clock, self.plans = database, clock, plans
        self.clients: set[Client] = set()
        self.head = 0  # everything up to here was offered to everybody
        self.lag, self.moved = asyncio.Event(), asyncio.Event()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.tasks: list[asyncio.Task[None]] = []

    # Life

    async def start(self) -> None:
        """From now on, tell."""
        self.loop = asyncio.get_running_loop()
        self.head = await asyncio.to_thread(self.read_head)
        self.tasks = [asyncio.create_task(self.pump()), asyncio.create_task(self.watch())]

    async def stop(self) -> None:
        """Close everybody."""
        for client in tuple(self.clients):
            client.end(CLOSING)
        for task in self.tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self.loop = None

    def wake(self) -> None:
        """Something was taken in; called from any thread."""
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self.lag.set)

    def revoke(self, names: Sequence[str]) -> None:
        """Tokens have ended; called from any thread."""
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self.shut, frozenset(names))

    def shut(self, names: frozenset[str]) -> None:
        """Close whoever came in with one of these."""
        for client in self.clients:
            if client.token in names:
                client.end(GONE)

    # Those who come and go

    def join(self, client: Client) -> bool:
        """From here on he hears everything; what came before is his to ask for."""
        mine = sum(other.user.id == client.user.id for other in self.clients)
        if mine >= PER_ACCOUNT:
            return False
        self.clients.add(client)
        return True

    def leave(self, client: Client) -> None:
        """He hears nothing more."""
        self.clients.discard(client)

    async def caught_up(self) -> None:
        """Wait until everything there was when asked has been told. *Raises* `TimeoutError`."""
        until = await asyncio.to_thread(self.read_head)
        while self.head < until:
            moved = self.moved
            self.lag.set()
            await asyncio.wait_for(moved.wait(), PATIENCE)

    async def missed(self, client: Client, since: int, until: int) -> list[Frame] | None:
        """What he would have heard between two deliveries; None when it is too much."""
        asked = Asked(after=since, before=until + 1)
        found = await asyncio.to_thread(self.read, client.plan, asked, REPLAY + 1)
        return None if len(found) > REPLAY else [frame_of(view) for view in found]

    # What is told

    async def pump(self) -> None:
        """Tell what is new, at once when it came in here, else soon."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.lag.wait(), POLL)
            self.lag.clear()
            try:
                await self.tell()
            except SQLAlchemyError as error:  # it is still there when the store is back
                log.error("feed_unreadable", exc_info=error)
                await asyncio.sleep(POLL)

    async def tell(self) -> None:
        """Offer everything new to everybody whose plan allows it."""
        until = await asyncio.to_thread(self.read_head)
        while self.head < until:
            news, end = await asyncio.to_thread(self.read_news, self.head, until)
            # no await between here and the end: whoever joins sees all of it, or none
            for client in self.clients:
                for frame in news.get(client.plan.name, ()):
                    client.offer(frame)
            self.head, moved = end, self.moved
            self.moved = asyncio.Event()
            moved.set()

    def read_head(self) -> int:
        """The last delivery."""
        with self.database.sessions() as session:
            return feed.head(session)

    def read(self, plan: Plan, asked: Asked, limit: int) -> tuple[SignalView, ...]:
        """Signals in order of delivery."""
        with self.database.sessions() as session:
            now = self.clock.wall()
            return feed.find_signals(session, plan, now, asked, limit=limit, newest=False)

    def read_news(self, since: int, until: int) -> tuple[Mapping[str, Sequence[Frame]], int]:
        """What each plan may hear of what came since, and how far that goes."""
        asked = Asked(after=since, before=until + 1)
        news = {
            plan.name: self.read(plan, asked, BATCH) for plan in self.plans.values() if plan.push
        }
        # the fullest page ends first; nobody is told beyond it
        ends = [views[-1].feed for views in news.values() if len(views) == BATCH]
        last = min(ends, default=until)
        kept = {
            name: [frame_of(view) for view in views if view.feed <= last]
            for name, views in news.items()
        }
        return kept, last

    # Who may still listen

    async def watch(self) -> None:
        """Look again at every session."""
        while True:
            await asyncio.sleep(RECHECK)
            try:
                await self.recheck()
            except SQLAlchemyError as error:
                log.error("sessions_unreadable", exc_info=error)

    async def recheck(self) -> None:
        """Close whose token has ended or whose plan has changed."""
        clients = tuple(self.clients)
        holders = await asyncio.to_thread(self.holders, {client.token for client in clients})
        for client in clients:
            user = holders.get(client.token)
            if user is None or user.plan != client.plan.name:
                client.end(GONE)

    def holders(self, names: set[str]) -> dict[str, User | None]:
        """Whose tokens these are."""
        with self.database.sessions() as session:
            now = self.clock.wall()
            found = {name: accounts.holder(session, name, now) for name in names}
        return {name: pair[0] if pair else None for name, pair in found.items()}


def frame_of(view: SignalView) -> Frame:
    """A signal as it is sent."""
    return {"type": "signal", "feed": view.feed, "signal": SHOWN.dump_python(view, mode="json")}
