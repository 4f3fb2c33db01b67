"""What the engine asks of the world outside: sources that see, a broker that trades."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

from argo_alpine.domain import Bar, Order, Quote, Reading


@dataclass(frozen=True, slots=True)
class Harvest:
    """What one fetch brought; times are the vendor's own."""

    readings: tuple[Reading, ...] = ()
    quotes: tuple[Quote, ...] = ()
    bars: tuple[Bar, ...] = ()  # completed ones, ascending by time within a symbol


class Source(Protocol):
    """A vendor that has an opinion, or the facts for one."""

    name: str  # as in argo_alpine.votes.SOURCES

    def due(self, at: datetime) -> bool:
        """Whether there may be something new at this market time."""

    def fetch(self, at: datetime) -> Harvest:
        """Ask the vendor. *Raises* `UnavailableSource` when the reply cannot be used."""


class Meter(Protocol):
    """What a source has used of its quota and budget; survives restarts."""

    def used(self, source: str, day: date) -> tuple[int, float]:
        """Calls made and US dollars spent on a day."""

    def use(self, source: str, day: date, calls: int, usd: float) -> None:
        """Add to both."""


class OrderState(StrEnum):
    """Where the broker has an order."""

    OPEN = "open"  # accepted, waiting, held or at the market; nothing filled
    PARTIAL = "partial"  # open, and partly filled
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"

    @property
    def is_final(self) -> bool:
        """Whether nothing more of it will be filled."""
        return self not in (OrderState.OPEN, OrderState.PARTIAL)


@dataclass(frozen=True, slots=True)
class BrokerOrder:
    """An order as the broker has it."""

    id: str  # the broker's own
    client_id: str  # ours, for an entry or a close; the broker's choice for a leg
    symbol: str
    quantity: float  # signed: above zero buys
    filled: float  # signed, cumulative
    average: float  # price of what is filled; NaN when nothing is
    state: OrderState
    at: datetime  # when the broker last changed it
    leg: str = ""  # target or stop, for the legs of a bracket
    price: float = float("nan")  # limit of a target, trigger of a stop
    legs: tuple["BrokerOrder", ...] = ()


@dataclass(frozen=True, slots=True)
class BrokerAccount:
    """What the broker says we have."""

    equity: float
    cash: float
    buying_power: float
    active: bool  # ACTIVE and without a block
    blocks: tuple[str, ...] = ()  # the reasons when it is not


@dataclass(frozen=True, slots=True)
class BrokerPosition:
    """What the broker says we hold of one symbol."""

    symbol: str
    quantity: float  # signed
    price: float  # average paid


class Broker(Protocol):
    """Somebody who takes orders. Every call returns or raises within a few seconds."""

    def account(self) -> BrokerAccount:
        """What we have. *Raises* `UnavailableBroker`."""

    def clock(self) -> datetime:
        """The broker's time, UTC. *Raises* `UnavailableBroker`."""

    def positions(self) -> Mapping[str, BrokerPosition]:
        """All that is held, by symbol. *Raises* `UnavailableBroker`."""

    def orders(self, since: datetime) -> Sequence[BrokerOrder]:
        """Open orders and those placed since, legs nested. *Raises* `UnavailableBroker`."""

    def find(self, client_id: str) -> BrokerOrder | None:
        """One order of ours, legs nested; None: the broker has no such order."""

    def submit(self, order: Order) -> BrokerOrder:
        """Place an entry as a bracket, a close or `flatten` at the market, `protect` as an OCO.

        *Raises* `RefusedOrder` (certainly not placed), `UnavailableBroker` (nothing was sent)
        and `UnknownOutcome` (perhaps placed).
        An id that exists already is not an error: the order it names is returned.
        """

    def cancel(self, broker_id: str) -> None:
        """Ask for an end; whether it came in time, only the order itself tells."""

    def listen(
        self, on_order: Callable[[BrokerOrder], None], on_gap: Callable[[], None]
    ) -> Callable[[], None]:
        """Hear of changes from a thread of its own; `on_gap` after every (re)connection.

        Returns a function that ends it.
        """


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """How a source is doing."""

    name: str
    state: str  # ok, waiting (nothing asked yet), failing, open (breaker), spent (budget), off
    failures: int = 0  # in a row
    error: str = ""  # the last, without secrets
    last_success: datetime | None = None  # wall time
    retry_at: datetime | None = None  # wall time, while the breaker is open
    calls: int = 0  # of the day
    usd: float = 0.0  # of the day
    extra: Mapping[str, float] = field(default_factory=dict)
