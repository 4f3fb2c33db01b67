"""The thread in which one source is asked, again and again, whatever happens to it."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from threading import Event, Lock, Thread
from typing import Protocol, runtime_checkable

from argo_alpine.domain import UnavailableSource
from services.argo.ports import Harvest, Meter, Source, SourceHealth
from services.argo.sources.breaker import Breaker
from services.argo.sources.web import Partly
from services.common.clock import Clock

log = logging.getLogger(__name__)
SHORT = (1.0, 2.0, 4.0)  # real seconds after the first, second and further failures in a row


@runtime_checkable
class Limited(Protocol):
    """A source with a quota or a budget."""

    def spent(self, at: datetime) -> bool:
        """Whether nothing may be asked for the rest of the day."""


class Runner:
    """Waits, asks, hands over; a failure is counted and shown, and never ends the thread."""

    def __init__(
        self,
        source: Source,
        clock: Clock,
        put: Callable[[str, Harvest], None],
        meter: Meter,
        breaker: Breaker | None = None,
        pause: float = 0.5,  # real seconds between two looks at the clock
    ) -> None:
        self.source, self.clock, self.put, self.meter = source, clock, put, meter
        self.breaker, self.pause = breaker or Breaker(), pause
        self.not_before = clock.monotonic()
        self.ended, self.lock = Event(), Lock()
        self.thread = Thread(target=self.run, name=f"source-{source.name}", daemon=True)
        self.seen = SourceHealth(source.name, "waiting")
        self.trouble = ""  # the source's last, until it succeeds
        self.counted: date | None = None

    def start(self) -> None:
        """Begin."""
        self.thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """End after the question in hand."""
        self.ended.set()
        if self.thread.is_alive():
            self.thread.join(timeout)

    def run(self) -> None:
        """Ask until stopped."""
        while not self.ended.wait(self.pause):
            self.tick()

    def tick(self) -> bool:  # whether the source was asked
        """One round. Raises nothing: what cannot be foreseen is a failure of this source."""
        try:
            at = self.clock.market()
        except UnavailableSource as error:
            self.note(state="waiting", error=str(error))
            return False
        except Exception as error:
            self.fail(error)
            return False
        return self.round(at)

    def round(self, at: datetime) -> bool:
        """Ask if it is time and allowed."""
        allowed = False
        try:
            if self.clock.monotonic() >= self.not_before and self.source.due(at):
                allowed = self.breaker.allows(self.clock.monotonic())
            if allowed:
                self.put(self.source.name, self.source.fetch(at))
                self.succeed(at)
            else:
                self.idle(at)
        except Partly as error:
            self.hand_over(error.harvest)
            self.fail(error)
        except Exception as error:
            self.fail(error)
        if allowed or self.counted != at.date():
            self.count(at)
        return allowed

    def hand_over(self, harvest: Harvest) -> None:
        """What a failed fetch had brought."""
        try:
            self.put(self.source.name, harvest)
        except Exception:
            log.exception("%s: its harvest could not be stored", self.source.name)

    def succeed(self, at: datetime) -> None:
        """Count a success."""
        self.breaker.succeeded(self.clock.monotonic())
        self.trouble = ""
        self.note(state="ok", failures=0, error="", last_success=self.clock.wall(), retry_at=None)

    def fail(self, error: Exception) -> None:
        """Count a failure; one that nobody foresaw goes into the log in full."""
        words = str(error)
        if not isinstance(error, UnavailableSource):
            words = f"{type(error).__name__} in the adapter: this is a bug"
            log.exception("%s: %s", self.source.name, words)
        now, self.trouble = self.clock.monotonic(), words
        self.breaker.failed(now)
        failures = self.seen.failures + 1
        self.not_before = now + SHORT[min(failures, len(SHORT)) - 1]
        state = "open" if self.breaker.is_open else "failing"
        self.note(state=state, failures=failures, error=words, retry_at=self.retry_at(now))

    def idle(self, at: datetime) -> None:
        """Nothing was asked: because it is not time, or the breaker is open, or money is spent."""
        if self.breaker.is_open:
            state = "open"
        elif isinstance(self.source, Limited) and self.source.spent(at):
            state = "spent"
        elif self.seen.failures:
            state = "failing"
        else:
            state = "waiting" if self.seen.last_success is None else "ok"
        retry_at = self.retry_at(self.clock.monotonic())
        self.note(state=state, error=self.trouble, retry_at=retry_at)

    def retry_at(self, now: float) -> datetime | None:
        """The wall time at which an open breaker lets one question through."""
        if self.breaker.until is None:
            return None
        return self.clock.wall() + timedelta(seconds=max(self.breaker.until - now, 0.0))

    def count(self, at: datetime) -> None:
        """What was used of the day, as `health` shows it."""
        try:
            calls, usd = self.meter.used(self.source.name, at.date())
        except Exception:
            log.exception("%s: its meter cannot be read", self.source.name)
            return
        self.counted = at.date()
        self.note(calls=calls, usd=usd)

    def note(self, **changes: object) -> None:
        """Remember for `health`, which another thread reads."""
        with self.lock:
            self.seen = replace(self.seen, **changes)  # type: ignore[arg-type]

    def health(self) -> SourceHealth:
        """How the source is doing."""
        with self.lock:
            return self.seen
