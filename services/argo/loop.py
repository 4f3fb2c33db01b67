"""The thread the engine lives in: a cycle every few seconds, and at once when there is news."""

from collections.abc import Callable
from dataclasses import replace
from queue import Empty, SimpleQueue
from threading import Event, Thread

import structlog
from sqlalchemy.exc import OperationalError

from argo_alpine.domain import Unavailable
from services.argo.cycle import SETTLE, Engine
from services.argo.ports import BrokerOrder

log = structlog.get_logger()


class Loop:
    """Starts, stops and survives; only a finding that a person must look at ends it."""

    def __init__(self, engine: Engine, seconds: float) -> None:
        self.engine, self.seconds = engine, seconds
        self.news: SimpleQueue[BrokerOrder] = SimpleQueue()
        self.wake, self.ended = Event(), Event()
        self.thread = Thread(target=self.run, name="engine", daemon=True)
        self.unlisten: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin."""
        self.thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        """Finish the round in hand, and end."""
        self.ended.set()
        self.wake.set()
        self.thread.join(timeout)
        self.unlisten()

    def hear(self, order: BrokerOrder) -> None:
        """The broker says that an order changed."""
        self.news.put(order)
        self.wake.set()

    def gap(self) -> None:
        """The broker may have said something that nobody heard."""
        self.engine.gap()
        self.wake.set()

    def run(self) -> None:
        """Cycle until stopped."""
        try:
            self.unlisten = self.engine.broker.listen(self.hear, self.gap)
            while not self.ended.is_set():
                due = self.engine.clock.monotonic() + self.seconds
                self.engine.cycle()
                self.wait(due)
            self.engine.rest()
        except Exception as error:
            log.exception("engine_failed")
            words = f"{type(error).__name__}: {error}"
            self.engine.status = replace(self.engine.status, state="failed", error=words)

    def wait(self, due: float) -> None:
        """Until the next cycle is due: hear news, and ask about what is in flight."""
        while not self.ended.is_set() and (left := due - self.engine.clock.monotonic()) > 0:
            self.wake.wait(min(left, SETTLE))
            self.wake.clear()
            if self.ended.is_set():
                return
            try:
                self.engine.follow(self.heard())
            except (Unavailable, OperationalError) as error:  # the next cycle compares
                self.engine.gap()
                log.warning("cannot_follow", error=str(error))

    def heard(self) -> list[BrokerOrder]:
        """What the broker said since the last call."""
        orders = []
        while True:
            try:
                orders.append(self.news.get_nowait())
            except Empty:
                return orders
