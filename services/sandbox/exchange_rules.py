"""What the broker accepts as an order: first whether it can be read, then whether it may be."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from services.sandbox.exchange_values import (
    Tick,
    against_rules,
    bad_request,
    number,
    text,
)

CENT = Decimal("0.01")
TYPES = ("market", "limit", "stop", "stop_limit", "trailing_stop")
CLASSES = ("simple", "bracket", "oco", "oto")
UNSUPPORTED = ("opg", "cls", "ioc", "fok")
PRICES = {  # type -> limit price wanted, stop price wanted, the complaint
    "market": (False, False, "market orders require no limit or stop price"),
    "limit": (True, False, "limit orders require only limit price"),
    "stop": (False, True, "stop orders require only stop price"),
    "stop_limit": (True, True, "stop limit orders require both stop and limit price"),
    "trailing_stop": (False, False, "trailing stop orders require no limit or stop price"),
}


@dataclass(frozen=True, slots=True)
class Wish:
    """An order request that could be read."""

    symbol: str
    side: str
    type: str
    tif: str
    order_class: str  # "" for simple
    qty: Decimal | None
    notional: Decimal | None
    limit: Decimal | None
    stop: Decimal | None
    trail_price: Decimal | None
    trail_percent: Decimal | None
    extended_hours: bool
    client_order_id: str  # "": the broker chooses
    position_intent: str
    target: Decimal | None  # take profit
    guard: Decimal | None  # stop loss, its trigger
    guard_limit: Decimal | None  # stop loss, its limit

    @property
    def sign(self) -> int:
        """1 buys, -1 sells."""
        return 1 if self.side == "buy" else -1


def optional(body: Mapping[str, Any], name: str) -> Decimal | None:
    """A number that may be missing."""
    value = body.get(name)
    return None if value is None else number(value, name)


def chosen(body: Mapping[str, Any], name: str, known: tuple[str, ...], default: str = "") -> str:
    """One of the known words. *Raises* `ApiError`."""
    value = body.get(name) or default
    if not value:
        raise bad_request(f"{name} is required")
    if value not in known:
        raise bad_request(f"invalid {name}: {value}")
    return str(value)


def read_request(body: Any) -> Wish:
    """The order in a request body; unknown fields are ignored. *Raises* `ApiError`."""
    if not isinstance(body, Mapping):
        raise bad_request("request body format is invalid")
    if not isinstance(body.get("symbol"), str) or not body["symbol"]:
        raise bad_request("symbol is required")
    order_class = chosen(body, "order_class", CLASSES, "simple")
    target, guard = part(body, "take_profit"), part(body, "stop_loss")
    wish = Wish(
        symbol=body["symbol"].upper(),
        side=chosen(body, "side", ("buy", "sell")),
        type=chosen(body, "type", TYPES, "limit" if order_class == "oco" else ""),
        tif=chosen(body, "time_in_force", ("day", "gtc", *UNSUPPORTED)),
        order_class="" if order_class == "simple" else order_class,
        qty=optional(body, "qty"),
        notional=optional(body, "notional"),
        limit=optional(body, "limit_price"),
        stop=optional(body, "stop_price"),
        trail_price=optional(body, "trail_price"),
        trail_percent=optional(body, "trail_percent"),
        extended_hours=bool(body.get("extended_hours", False)),
        client_order_id=named(body.get("client_order_id")),
        position_intent=str(body.get("position_intent") or ""),
        target=optional(target, "limit_price"),
        guard=optional(guard, "stop_price"),
        guard_limit=optional(guard, "limit_price"),
    )
    check_fields(wish)
    return with_oco_limit(wish)


def part(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A nested object that may be missing."""
    found = body.get(name) or {}
    if not isinstance(found, Mapping):
        raise bad_request(f"{name} must be an object")
    return found


def named(value: Any) -> str:
    """The client's own id for an order. *Raises* `ApiError`."""
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > 48:
        raise bad_request("client_order_id must be no more than 48 characters")
    return value


def with_oco_limit(wish: Wish) -> Wish:
    """An OCO's limit may be given as its take profit."""
    if wish.order_class != "oco":
        return wish
    return replace(wish, limit=wish.limit or wish.target, target=wish.target or wish.limit)


def check_fields(wish: Wish) -> None:
    """Whether what belongs together is there. *Raises* `ApiError`."""
    if wish.qty is None and wish.notional is None:
        raise bad_request("qty or notional is required")
    if wish.qty is not None and wish.notional is not None:
        raise bad_request("only one of qty or notional is accepted")
    wants_limit, wants_stop, complaint = PRICES[wish.type]
    has_limit = wish.limit is not None or (wish.order_class == "oco" and wish.target is not None)
    if (has_limit, wish.stop is not None) != (wants_limit, wants_stop):
        raise bad_request(complaint)
    trails = (wish.trail_price is not None) + (wish.trail_percent is not None)
    if trails != (wish.type == "trailing_stop"):
        raise bad_request("trailing stop orders must specify one of trail_price or trail_percent")
    if wish.extended_hours and wish.type != "limit":
        raise bad_request('only type="limit" is allowed for extended hours orders')
    check_exits(wish)


def check_exits(wish: Wish) -> None:
    """Whether an order class has the exits it is named for. *Raises* `ApiError`."""
    kind, has_target, has_guard = wish.order_class, wish.target is not None, wish.guard is not None
    if kind == "oto":
        if has_target == has_guard:
            raise bad_request("oto orders require either take_profit or stop_loss")
        return
    if kind == "bracket" and not has_target:
        raise bad_request("bracket orders require take_profit.limit_price")
    if kind in ("bracket", "oco") and not has_guard:
        raise bad_request(f"{kind} orders require stop_loss.stop_price")
    if kind == "oco" and wish.type != "limit":
        raise bad_request("oco orders must be limit orders")
    if kind == "" and (has_target or has_guard):
        raise bad_request("simple orders must not have take_profit or stop_loss")


def check_rules(wish: Wish, tick: Tick) -> None:
    """What the order class and the tick size demand. *Raises* `ApiError`."""
    if wish.tif in UNSUPPORTED:
        raise against_rules(f"time_in_force {wish.tif} is not simulated: use day or gtc")
    if wish.notional is not None or (wish.qty is not None and wish.qty % 1):
        check_fraction(wish)
    if wish.order_class and wish.extended_hours:
        raise against_rules("extended hours orders must be simple orders")
    if wish.type == "trailing_stop" and wish.order_class:
        raise against_rules("trailing stop orders must be simple orders")
    for name, price in (
        ("limit_price", wish.limit),
        ("stop_price", wish.stop),
        ("take_profit.limit_price", wish.target),
        ("stop_loss.stop_price", wish.guard),
        ("stop_loss.limit_price", wish.guard_limit),
    ):
        check_penny(name, price)
    if wish.order_class:
        check_sides(wish, tick)


def check_fraction(wish: Wish) -> None:
    """Parts of shares are for simple day orders. *Raises* `ApiError`."""
    if wish.order_class:
        raise against_rules("fractional orders must be simple orders")
    if wish.tif != "day":
        raise against_rules("fractional orders must be DAY orders")
    if wish.notional is not None and wish.type != "market":
        raise against_rules("notional orders must be market orders")


def check_penny(name: str, price: Decimal | None) -> None:
    """Two decimals from one dollar on, four below. *Raises* `ApiError`."""
    if price is None:
        return
    step = CENT if price >= 1 else Decimal("0.0001")
    if price % step:
        raise against_rules(
            f"invalid {name} {text(price)}. sub-penny increment does not fulfill "
            "minimum pricing criteria"
        )


def check_sides(wish: Wish, tick: Tick) -> None:
    """Target and stop lie on their sides of the base price. *Raises* `ApiError`."""
    is_exit = wish.order_class == "oco"
    long = wish.sign * (-1 if is_exit else 1) > 0
    base = tick.last if is_exit else wish.limit or wish.stop or tick.last
    for name, price, above in (
        ("take_profit.limit_price", None if is_exit else wish.target, long),
        ("stop_loss.stop_price", wish.guard, not long),
    ):
        if price is None:
            continue
        if above and price < base + CENT:
            raise against_rules(f"{name} must be >= base_price + 0.01", base_price=text(base))
        if not above and price > base - CENT:
            raise against_rules(f"{name} must be <= base_price - 0.01", base_price=text(base))
    if wish.target and wish.guard and (wish.target > wish.guard) != long:
        raise against_rules("take_profit.limit_price and stop_loss.stop_price are crossed")
