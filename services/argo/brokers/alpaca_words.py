"""Alpaca's replies in the engine's words, the same for REST and for the stream."""

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from argo_alpine.domain import InvalidTime, UnavailableBroker, utc
from services.argo.ports import BrokerAccount, BrokerOrder, BrokerPosition, OrderState

log = logging.getLogger(__name__)

SIDES = {"buy": 1, "sell": -1, "sell_short": -1}
GROUPS = ("bracket", "oco", "oto")  # order classes that have legs
LEGS = {
    "limit": ("target", "limit_price"),
    "stop": ("stop", "stop_price"),
    "stop_limit": ("stop", "stop_price"),
    "trailing_stop": ("stop", "stop_price"),
}
FINAL = {
    "filled": OrderState.FILLED,
    "canceled": OrderState.CANCELED,
    "replaced": OrderState.CANCELED,  # its successor is an order of its own
    "expired": OrderState.EXPIRED,
    "rejected": OrderState.REJECTED,
}
WORKING = {
    "accepted",
    "accepted_for_bidding",
    "calculated",
    "done_for_day",
    "held",
    "new",
    "partially_filled",
    "pending_cancel",
    "pending_new",
    "pending_replace",
    "stopped",
    "suspended",
}
BLOCKS = ("account_blocked", "trading_blocked", "trade_suspended_by_user")


def scrubbed(said: str, secrets: Iterable[str]) -> str:
    """A text without what nobody may read; a broken proxy may echo what it was sent."""
    for secret in secrets:
        said = said.replace(secret, "***")
    return said


def unreadable(what: str, value: object) -> UnavailableBroker:
    """The error for a reply that says something else than it should."""
    return UnavailableBroker(f"Alpaca's reply cannot be read: {what}, was {value!r:.120}")


def mapping(raw: object, what: str) -> Mapping[str, Any]:
    """A JSON object. *Raises* `UnavailableBroker`."""
    if not isinstance(raw, dict):
        raise unreadable(f"{what} must be an object", raw)
    return raw


def listing(raw: object, what: str) -> list[Any]:
    """A JSON list. *Raises* `UnavailableBroker`."""
    if not isinstance(raw, list):
        raise unreadable(f"{what} must be a list", raw)
    return raw


def text(raw: Mapping[str, Any], name: str) -> str:
    """A text that is there. *Raises* `UnavailableBroker`."""
    value = raw.get(name)
    if not isinstance(value, str) or not value:
        raise unreadable(f"{name} must be a text", value)
    return value


def number(raw: Mapping[str, Any], name: str) -> float:
    """A finite number, spelt as a number or as text. *Raises* `UnavailableBroker`."""
    value = raw.get(name)
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            found = float(value)
        except (ValueError, OverflowError):
            found = math.nan
        if math.isfinite(found):
            return found
    raise unreadable(f"{name} must be a finite number", value)


def time(raw: Mapping[str, Any], *names: str) -> datetime:
    """The first of these times that is there, UTC. *Raises* `UnavailableBroker`."""
    value = next((raw[name] for name in names if raw.get(name)), None)
    try:
        return utc(datetime.fromisoformat(value or ""))
    except (TypeError, ValueError, InvalidTime) as error:
        raise unreadable(f"{names[0]} must be a time with a zone", value) from error


def state(status: str, filled: float) -> OrderState:
    """Where an order is; a status nobody has heard of counts as open, never as an end."""
    if status in FINAL:
        return FINAL[status]
    if status not in WORKING:
        log.warning("Alpaca has an order of status %.40r, unknown here: taken as open", status)
    return OrderState.PARTIAL if filled else OrderState.OPEN


def terms(raw: Mapping[str, Any]) -> str:
    """How an order wants to be filled: market, or limit 44.1. *Raises* `UnavailableBroker`."""
    kind = str(raw.get("type") or raw.get("order_type"))
    return f"limit {number(raw, 'limit_price'):.10g}" if kind == "limit" else kind


def grouped(raw: Mapping[str, Any]) -> bool:
    """Whether an order belongs to a bracket, or to another group with legs."""
    return raw.get("order_class") in GROUPS


def order(raw: object, nested: bool = False) -> BrokerOrder:
    """An order with its legs. *Raises* `UnavailableBroker`.

    The quantity is NaN where somebody ordered an amount of money instead of shares.
    """
    fields = mapping(raw, "an order")
    side, kind = text(fields, "side"), str(fields.get("type") or fields.get("order_type"))
    if side not in SIDES:
        raise unreadable("side must be buy or sell", side)
    quantity = number(fields, "qty") if fields.get("qty") is not None else math.nan
    filled = number(fields, "filled_qty")
    status = state(text(fields, "status"), filled)
    check_fill(status, quantity, filled)
    legs = listing(fields.get("legs") or [], "legs")
    role, price = LEGS.get(kind, ("", ""))
    is_leg = nested or (grouped(fields) and not legs) or fields.get("order_class") == "oco"
    return BrokerOrder(
        id=text(fields, "id"),
        client_id=text(fields, "client_order_id"),
        symbol=text(fields, "symbol"),
        quantity=SIDES[side] * quantity,
        filled=SIDES[side] * filled if filled else 0.0,
        average=number(fields, "filled_avg_price") if filled else math.nan,
        state=status,
        at=time(fields, "updated_at", "submitted_at", "created_at"),
        leg=role if is_leg else "",
        price=number(fields, price) if fields.get(price) is not None else math.nan,
        legs=tuple(order(leg, nested=True) for leg in legs),
    )


def check_fill(status: OrderState, quantity: float, filled: float) -> None:
    """*Raises* `UnavailableBroker` for more shares than ordered, or fewer in a filled order."""
    whole = math.isclose(quantity, filled, rel_tol=1e-9)
    if quantity <= 0 or filled < 0 or (filled > quantity and not whole):
        raise unreadable(f"filled must lie between 0 and qty {quantity:g}", filled)
    if status is OrderState.FILLED and not whole and not math.isnan(quantity):
        raise unreadable(f"a filled order must have filled its qty {quantity:g}", filled)


def merged(found: Iterable[BrokerOrder]) -> list[BrokerOrder]:
    """Each order once, as last changed, legs under their parents however they were listed."""
    latest: dict[str, BrokerOrder] = {}
    for parent in found:
        for each in (parent, *parent.legs):
            latest[each.id] = newer(latest.get(each.id, each), each)
    legs = {leg.id for each in latest.values() for leg in each.legs}
    return [
        replace(each, legs=tuple(latest[leg.id] for leg in each.legs))
        for each in latest.values()
        if each.id not in legs
    ]


def newer(one: BrokerOrder, other: BrokerOrder) -> BrokerOrder:
    """The later of two sights of an order, with what only the earlier one showed."""
    old, new = sorted((one, other), key=lambda o: (o.at, o.state.is_final, abs(o.filled)))
    return replace(new, legs=new.legs or old.legs, leg=new.leg or old.leg)


def account(raw: object) -> BrokerAccount:
    """What we have, and every reason not to trade. *Raises* `UnavailableBroker`."""
    fields = mapping(raw, "an account")
    status, blocks = text(fields, "status"), []
    for name in BLOCKS:
        if not isinstance(fields.get(name), bool):
            raise unreadable(f"{name} must be true or false", fields.get(name))
        if fields[name]:
            blocks.append(name)
    if status != "ACTIVE":
        blocks.append(f"status {status}")
    return BrokerAccount(
        equity=number(fields, "equity"),
        cash=number(fields, "cash"),
        buying_power=number(fields, "buying_power"),
        active=not blocks,
        blocks=tuple(blocks),
    )


def positions(raw: object) -> dict[str, BrokerPosition]:
    """All that is held, by symbol. *Raises* `UnavailableBroker`."""
    found: dict[str, BrokerPosition] = {}
    for each in listing(raw, "positions"):
        held = position(each)
        if held.symbol in found:
            raise unreadable("a symbol must be held once", held.symbol)
        found[held.symbol] = held
    return found


def position(raw: object) -> BrokerPosition:
    """What is held of one symbol. *Raises* `UnavailableBroker`."""
    fields = mapping(raw, "a position")
    quantity = number(fields, "qty")
    if fields.get("side") == "short" and quantity > 0:
        raise unreadable("a short position must have a qty below zero", quantity)
    return BrokerPosition(text(fields, "symbol"), quantity, number(fields, "avg_entry_price"))
