"""What the simulated broker keeps, and how it spells numbers, times and names."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints
from uuid import UUID

from argo_alpine.domain import Refused

T = TypeVar("T")
ZERO = Decimal(0)
OPEN = frozenset({"accepted", "pending_new", "new", "partially_filled", "held"})
STOPS = frozenset({"stop", "stop_limit", "trailing_stop"})
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class ApiError(Refused):
    """A request the broker refuses, as its API says so."""

    def __init__(self, status: int, code: int, message: str, **details: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"code": code, "message": message, **details}


def bad_request(message: str) -> ApiError:
    """The request cannot be read."""
    return ApiError(422, 40010001, message)


def against_rules(message: str, **details: Any) -> ApiError:
    """The request can be read, but a rule of the market forbids it."""
    return ApiError(422, 42210000, message, **details)


def forbidden(message: str, **details: Any) -> ApiError:
    """The request is fine, but this account may not."""
    return ApiError(403, 40310000, message, **details)


def missing(message: str) -> ApiError:
    """There is no such thing."""
    return ApiError(404, 40410000, message)


@dataclass(frozen=True, slots=True)
class Ticket:
    """An order as the broker keeps it."""

    id: str
    client_order_id: str
    symbol: str
    side: str  # buy, sell
    type: str  # market, limit, stop, stop_limit, trailing_stop
    tif: str  # day, gtc
    order_class: str  # "" (simple), bracket, oco, oto
    role: str  # entry, target, stop; "" alone
    status: str
    created: datetime
    updated: datetime
    qty: Decimal | None  # None until a notional order is filled
    notional: Decimal | None = None
    limit: Decimal | None = None
    stop: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    hwm: Decimal | None = None  # best price a trailing stop has seen
    extended_hours: bool = False
    position_intent: str = ""
    parent: str = ""  # for a leg
    legs: tuple[str, ...] = ()
    live: bool = True  # False: a leg that waits for its entry
    triggered: bool = False  # a stop whose price was traded
    filled: Decimal = ZERO
    average: Decimal | None = None
    filled_at: datetime | None = None
    canceled_at: datetime | None = None
    expired_at: datetime | None = None
    failed_at: datetime | None = None
    replaced_at: datetime | None = None
    replaces: str = ""
    replaced_by: str = ""

    @property
    def sign(self) -> int:
        """1 buys, -1 sells."""
        return 1 if self.side == "buy" else -1

    @property
    def left(self) -> Decimal:
        """Shares still to be filled; a notional order does not know yet."""
        return ZERO if self.qty is None else self.qty - self.filled

    @property
    def is_open(self) -> bool:
        """Whether anything can still happen to it."""
        return self.status in OPEN

    @property
    def is_executable(self) -> bool:
        """Whether a price can fill it; a stop leg shows `held` and still triggers."""
        return self.live and self.status in ("new", "partially_filled", "held")


@dataclass(frozen=True, slots=True)
class Holding:
    """What is held of one symbol."""

    quantity: Decimal  # signed
    price: Decimal  # average paid


@dataclass(frozen=True, slots=True)
class Tick:
    """The market's word on one symbol."""

    bid: Decimal
    ask: Decimal
    last: Decimal
    at: datetime


def number(value: Any, name: str) -> Decimal:
    """A positive number out of JSON, from an int, a float or a string."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise bad_request(f"{name} must be a number, was {value!r}")
    try:
        found = Decimal(str(value))
    except InvalidOperation as error:
        raise bad_request(f"{name} must be a number, was {value!r}") from error
    if not found.is_finite() or found <= 0:
        raise bad_request(f"{name} must be > 0, was {value!r}")
    return found


def text(value: Decimal | None) -> str | None:
    """A number as the API writes it: at most 9 decimals, never an exponent."""
    if value is None:
        return None
    rounded = round(value, 9).normalize()
    return format(rounded if rounded else ZERO, "f")


def stamp(at: datetime | None) -> str | None:
    """A time as the API writes it: RFC 3339, UTC."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z") if at else None


def identity(*parts: object) -> str:
    """A UUID that follows from what it names."""
    digest = sha256("\0".join(map(str, parts)).encode()).digest()
    return str(UUID(bytes=digest[:16], version=4))


def ulid(at: datetime, count: int) -> str:
    """An id that sorts by time, then by count."""
    value = (int(at.timestamp() * 1000) << 80) | count
    return "".join(CROCKFORD[(value >> shift) & 31] for shift in range(125, -1, -5))


def flat(value: Any) -> dict[str, Any]:
    """A dataclass of this module as JSON can carry it, exactly."""
    return {f.name: flat_leaf(getattr(value, f.name)) for f in fields(value)}


def flat_leaf(value: Any) -> Any:
    """One field for `flat`."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value


def revived(kind: type[T], values: Mapping[str, Any]) -> T:
    """The dataclass `flat` made these values of."""
    hints = get_type_hints(kind)
    return kind(**{name: revived_leaf(hints[name], value) for name, value in values.items()})


def revived_leaf(hint: Any, value: Any) -> Any:
    """One field for `revived`."""
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if value is None:
        return None
    if Decimal in kinds:
        return Decimal(value)
    if datetime in kinds:
        return datetime.fromisoformat(value)
    return tuple(value) if get_origin(hint) is tuple else value
