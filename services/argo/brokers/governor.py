"""The last limit before the broker: it trusts neither the strategy nor the risk gate."""

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from argo_alpine.domain import Order, RefusedOrder, UnavailableSource, exchange_date
from services.common.clock import Clock


class Store(Protocol):
    """Where the counts survive a restart."""

    def load(self) -> Mapping[str, Any]:
        """What was saved last; empty at first."""

    def save(self, state: dict[str, Any]) -> None:
        """Keep this, durably, before returning."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What no healthy day comes near."""

    orders_per_minute: int = 10
    orders_per_day: int = 100
    notional_per_day: float = 1_000_000.0  # account currency


@dataclass(frozen=True, slots=True)
class Counts:
    """What has been let through."""

    day: str = ""  # exchange date the daily counts belong to
    ids: tuple[str, ...] = ()  # orders of the day: a repeated attempt is one order
    notional: float = 0.0  # of the day
    attempts: tuple[datetime, ...] = field(default=())  # of the last minute, wall time
    latched: str = ""  # why nothing more is let through

    @staticmethod
    def read(state: Mapping[str, Any]) -> "Counts":
        """From what `plain` wrote; raises what a wrong shape raises."""
        if not state:
            return Counts()
        return Counts(
            str(state["day"]),
            tuple(str(i) for i in state["ids"]),
            float(state["notional"]),
            tuple(datetime.fromisoformat(at) for at in state["attempts"]),
            str(state["latched"]),
        )

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "day": self.day,
            "ids": list(self.ids),
            "notional": self.notional,
            "attempts": [at.isoformat() for at in self.attempts],
            "latched": self.latched,
        }


def notional(order: Order) -> float:
    """What an order may cost, at the dearest price its signal names."""
    prices = (order.signal.entry, order.signal.stop, order.signal.target)
    return abs(order.quantity) * max((p for p in prices if not math.isnan(p)), default=math.inf)


class Governor:
    """Orders a minute, orders a day, notional a day; a hit latches until a person resets it.

    The minute is the wall's, the day the market's: a simulated day may pass in a minute.
    """

    def __init__(self, store: Store, clock: Clock, limits: Limits | None = None) -> None:
        self.store, self.clock, self.limits = store, clock, limits or Limits()
        self.lock = threading.Lock()

    @property
    def latched(self) -> str:
        """Why nothing more is let through; empty while something is."""
        return self._load().latched

    def admit(self, order: Order) -> None:
        """Count an entry before it is sent; an exit always passes.

        *Raises* `RefusedOrder` when a limit is hit, was hit, or cannot be checked.
        """
        if order.leg != "entry":
            return
        with self.lock:
            counts = self._load()
            if counts.latched:
                raise RefusedOrder(f"governor: {counts.latched}; a person has to reset it")
            counts = self._counted(counts, order)
            hit = self._hit(counts)
            self._save(replace(counts, latched=hit))
            if hit:
                raise RefusedOrder(f"governor: {hit}; latched until a person resets it")

    def reset(self) -> None:
        """A person has looked: lift the latch and count afresh."""
        with self.lock:
            self._save(Counts())

    def _counted(self, counts: Counts, order: Order) -> Counts:
        try:
            day = exchange_date(self.clock.market()).isoformat()
        except UnavailableSource as error:
            raise RefusedOrder(f"governor: {error}, so the day cannot be told") from error
        now = self.clock.wall()
        if day != counts.day:
            counts = replace(counts, day=day, ids=(), notional=0.0)
        if order.id not in counts.ids:
            ids, cost = (*counts.ids, order.id), counts.notional + notional(order)
            counts = replace(counts, ids=ids, notional=cost)
        minute = tuple(at for at in counts.attempts if at > now - timedelta(minutes=1))
        return replace(counts, attempts=(*minute, now))

    def _hit(self, counts: Counts) -> str:
        most = self.limits
        if len(counts.attempts) > most.orders_per_minute:
            return f"more than {most.orders_per_minute} orders in a minute"
        if len(counts.ids) > most.orders_per_day:
            return f"more than {most.orders_per_day} orders on {counts.day}"
        if not counts.notional <= most.notional_per_day:
            return f"{counts.notional:.2f} on {counts.day}, at most {most.notional_per_day:.2f}"
        return ""

    def _load(self) -> Counts:
        try:
            return Counts.read(self.store.load())
        except Exception as error:  # whatever a store raises: without memory there is no limit
            raise RefusedOrder(f"governor: its counts cannot be read: {error}") from error

    def _save(self, counts: Counts) -> None:
        try:
            self.store.save(counts.plain())
        except Exception as error:
            raise RefusedOrder(f"governor: its counts cannot be kept: {error}") from error
