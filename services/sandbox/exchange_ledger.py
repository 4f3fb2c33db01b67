"""The broker's memory: tickets, holdings, fills and closes, and whoever listens to it."""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from argo_alpine.domain import InvalidSettings
from services.sandbox import exchange_books as books
from services.sandbox import exchange_views as views
from services.sandbox.exchange_values import (
    ZERO,
    Holding,
    Tick,
    Ticket,
    flat,
    identity,
    revived,
    stamp,
    text,
    ulid,
)

Event = dict[str, Any]
Listener = Callable[[Event], None]
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
CONFIGURATION = {
    "no_shorting": False,
    "suspend_trade": False,
    "fractional_trading": True,
    "max_margin_multiplier": "2",
    "trade_confirm_email": "all",
    "ptp_no_exception_entry": False,
    "max_options_trading_level": 0,
}

P = ParamSpec("P")
R = TypeVar("R")
L = TypeVar("L", bound="Ledger")


def locked(method: Callable[Concatenate[L, P], R]) -> Callable[Concatenate[L, P], R]:
    """One caller at a time."""

    @wraps(method)
    def guarded(self: L, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.lock:
            return method(self, *args, **kwargs)

    return guarded


class Ledger:
    """Everything that is remembered; what may happen to it is `Exchange`'s business."""

    def __init__(
        self,
        cash: Decimal | float = 100_000,
        symbols: Iterable[str] = (),
        multiplier: int = 2,
    ) -> None:
        self.lock = threading.RLock()
        self.listeners: list[Listener] = []
        self.muted: tuple[str, ...] = ()  # kinds of events that happen and are not told
        self.symbols, self.multiplier = tuple(symbols), multiplier
        self.base = self.cash = self.last_equity = Decimal(str(cash))
        self.at, self.is_open = BEGINNING, False
        self.count = 0  # of ids ever given out
        self.holdings: dict[str, Holding] = {}
        self.ticks: dict[str, Tick] = {}
        self.tickets: dict[str, Ticket] = {}
        self.working: dict[str, None] = {}  # ids of open tickets, oldest first
        self.names: dict[str, str] = {}  # client_order_id -> id
        self.fills: list[Event] = []
        self.closes: dict[str, Decimal] = {}  # last price at the close before
        self.marks: list[tuple[str, str]] = []  # time and equity at each close
        self.blocks: tuple[str, ...] = ()  # such as trading_blocked
        self.configuration: dict[str, Any] = dict(CONFIGURATION)

    @locked
    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Hear of every event from now on; returns what ends it."""
        self.listeners.append(listener)

        def unsubscribe() -> None:
            with self.lock:
                if listener in self.listeners:
                    self.listeners.remove(listener)

        return unsubscribe

    @locked
    def mute(self, *kinds: str) -> None:
        """Keep kinds of events to itself, as real brokers sometimes do; none tells all again."""
        self.muted = kinds

    @locked
    def state(self) -> dict[str, Any]:
        """All that must be kept to go on later, as JSON can carry it."""
        return {
            "symbols": list(self.symbols),
            "multiplier": self.multiplier,
            "base": str(self.base),
            "cash": str(self.cash),
            "last_equity": str(self.last_equity),
            "at": self.at.isoformat(),
            "is_open": self.is_open,
            "count": self.count,
            "holdings": {symbol: flat(held) for symbol, held in self.holdings.items()},
            "ticks": {symbol: flat(tick) for symbol, tick in self.ticks.items()},
            "tickets": [flat(ticket) for ticket in self.tickets.values()],
            "fills": [dict(fill) for fill in self.fills],
            "closes": {symbol: str(price) for symbol, price in self.closes.items()},
            "marks": [list(mark) for mark in self.marks],
            "blocks": list(self.blocks),
            "configuration": dict(self.configuration),
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Self:
        """The ledger that `state` describes, nobody listening yet. *Raises* `InvalidSettings`."""
        try:
            ledger = cls(Decimal(state["base"]), state["symbols"], state["multiplier"])
            ledger.restore(state)
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidSettings(
                f"not the books of a simulated broker ({error!r}): start with fresh ones"
            ) from error
        return ledger

    @locked
    def restore(self, state: Mapping[str, Any]) -> None:
        """Become what `state` describes; whoever listens goes on listening."""
        self.symbols, self.multiplier = tuple(state["symbols"]), state["multiplier"]
        self.base, self.cash = Decimal(state["base"]), Decimal(state["cash"])
        self.last_equity = Decimal(state["last_equity"])
        self.at, self.is_open = datetime.fromisoformat(state["at"]), state["is_open"]
        self.count = state["count"]
        self.holdings = {s: revived(Holding, held) for s, held in state["holdings"].items()}
        self.ticks = {s: revived(Tick, tick) for s, tick in state["ticks"].items()}
        self.tickets = {t["id"]: revived(Ticket, t) for t in state["tickets"]}
        self.working = {t.id: None for t in self.tickets.values() if t.is_open}
        self.names = {t.client_order_id: t.id for t in self.tickets.values()}
        self.fills = [dict(fill) for fill in state["fills"]]
        self.closes = {symbol: Decimal(price) for symbol, price in state["closes"].items()}
        self.marks = [(at, equity) for at, equity in state["marks"]]
        self.blocks, self.configuration = tuple(state["blocks"]), dict(state["configuration"])

    def now(self, at: datetime) -> datetime:
        """The latest time anybody has told; it never goes back."""
        self.at = max(self.at, at)
        return self.at

    def new_id(self, kind: str) -> str:
        """An id nobody has yet; the same in every run."""
        self.count += 1
        return identity("alpaca", kind, self.count)

    def keep(self, ticket: Ticket) -> Ticket:
        """Remember a ticket as it now is."""
        self.tickets[ticket.id] = ticket
        self.names.setdefault(ticket.client_order_id, ticket.id)
        if ticket.is_open:
            self.working[ticket.id] = None
        else:
            self.working.pop(ticket.id, None)
        return ticket

    def change(self, ticket: Ticket, **fields: Any) -> Ticket:
        """The ticket with new fields, remembered."""
        return self.keep(replace(ticket, updated=self.at, **fields))

    def open_tickets(self, symbol: str | None = None) -> list[Ticket]:
        """Tickets to which something can still happen, oldest first."""
        tickets = (self.tickets[i] for i in self.working)
        return [t for t in tickets if symbol in (None, t.symbol)]

    def family(self, ticket: Ticket) -> list[Ticket]:
        """The open and ended orders of its group, itself included."""
        head = self.tickets[ticket.parent] if ticket.parent else ticket
        return [head, *(self.tickets[leg] for leg in head.legs)]

    def held(self, symbol: str) -> Decimal:
        """Shares held, signed."""
        return self.holdings.get(symbol, books.NOTHING).quantity

    def emit(self, kind: str, ticket: Ticket, **details: Any) -> None:
        """Tell every listener."""
        self.count += 1
        if kind in self.muted:
            return
        event = {
            "event": kind,
            "event_id": ulid(self.at, self.count),
            "at": stamp(self.at),
            "timestamp": stamp(self.at),
            "order": self.shown(ticket),
            **details,
        }
        for listener in tuple(self.listeners):
            listener(event)

    def shown(self, ticket: Ticket, nested: bool = True) -> dict[str, Any]:
        """A ticket as the API shows it."""
        legs = [self.tickets[leg] for leg in ticket.legs] if nested else []
        return views.order(ticket, legs)

    def book(self, ticket: Ticket, qty: Decimal, price: Decimal) -> None:
        """Move shares and cash."""
        signed = ticket.sign * qty
        self.cash -= signed * price
        held = books.booked(self.holdings.get(ticket.symbol, books.NOTHING), signed, price)
        if held.quantity:
            self.holdings[ticket.symbol] = held
        else:
            self.holdings.pop(ticket.symbol, None)

    def record(self, ticket: Ticket, qty: Decimal, price: Decimal, execution: str) -> None:
        """Remember a fill as an account activity."""
        self.fills.append(
            {
                "id": f"{self.at:%Y%m%d%H%M%S}{self.at.microsecond // 1000:03d}::{execution}",
                "activity_type": "FILL",
                "transaction_time": stamp(self.at),
                "type": "partial_fill" if ticket.left else "fill",
                "price": text(price),
                "qty": text(qty),
                "side": ticket.side,
                "symbol": ticket.symbol,
                "leaves_qty": text(ticket.left),
                "order_id": ticket.id,
                "cum_qty": text(ticket.filled),
                "order_status": ticket.status,
            }
        )

    def equity(self) -> Decimal:
        """Cash and what is held, at the last price."""
        return self.cash + sum(books.market_values(self.holdings, self.ticks), ZERO)

    def buying_power(self) -> Decimal:
        """What may still be spent on larger positions."""
        long, short = books.market_values(self.holdings, self.ticks)
        reserved = books.reserved_cash(self.open_tickets(), self.holdings, self.ticks)
        return max(ZERO, self.multiplier * (self.cash + long + short) - long + short - reserved)

    def reserved(self, symbol: str) -> tuple[Decimal, list[str]]:
        """Shares that open exits hold, and those exits' ids."""
        return books.reserved_shares(self.held(symbol), self.open_tickets(symbol))
