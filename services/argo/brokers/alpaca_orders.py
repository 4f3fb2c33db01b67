"""Our orders as Alpaca takes them, and whether it took them as meant."""

import math
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from alpaca.trading.enums import OrderClass, OrderSide, TimeInForce
from alpaca.trading.requests import (
    LimitOrderRequest,
    MarketOrderRequest,
    OrderRequest,
    StopLossRequest,
    TakeProfitRequest,
)

from argo_alpine.domain import InvalidSettings, Order, RefusedOrder
from argo_alpine.sizing import to_tick
from services.argo.brokers import alpaca_words as words
from services.argo.ports import BrokerOrder

LONGEST = 48  # characters of a client id


def host(url: str, schemes: Mapping[str, str]) -> str:
    """The host of a URL, "" for this machine. *Raises* `InvalidSettings`."""
    try:
        parts = urlsplit(url)
        name = (parts.hostname or "").rstrip(".")
    except ValueError as error:
        raise InvalidSettings(
            "Alpaca's URL cannot be read: it needs a scheme and a host"
        ) from error
    if parts.scheme not in schemes or not name or parts.username or parts.query:
        raise InvalidSettings(
            f"Alpaca's URL must be {' or '.join(schemes)} and a host, "
            f"was scheme {parts.scheme!r} and host {name!r}"
        )
    if parts.path.rstrip("/").endswith("/v2"):
        raise InvalidSettings("Alpaca's URL must end before /v2: the client appends it")
    try:
        loopback = name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        loopback = False
    if not loopback and not parts.scheme.endswith("s"):
        raise InvalidSettings(f"{name} must be reached encrypted: use {schemes[parts.scheme]}")
    return "" if loopback else name


def request_for(order: Order) -> OrderRequest:
    """The request an order becomes. *Raises* `RefusedOrder` for one that makes no sense."""
    if not order.quantity or order.quantity != int(order.quantity):
        raise RefusedOrder(f"{order.symbol}: whole shares only, was {order.quantity}")
    if not 0 < len(order.id) <= LONGEST:
        raise RefusedOrder(f"{order.symbol}: id must have 1 to {LONGEST} characters: {order.id!r}")
    common: dict[str, Any] = {
        "symbol": order.symbol,
        "qty": abs(order.quantity),
        "side": OrderSide.BUY if order.quantity > 0 else OrderSide.SELL,
        "client_order_id": order.id,
    }
    if order.leg in ("close", "flatten"):
        return MarketOrderRequest(**common, time_in_force=TimeInForce.DAY)
    if order.leg not in ("entry", "protect"):
        raise RefusedOrder(
            f"{order.symbol}: leg must be entry, close, protect or flatten, was {order.leg!r}"
        )
    stop, target = exits(order)
    if order.leg == "protect":
        return LimitOrderRequest(
            **common,
            time_in_force=TimeInForce.GTC,
            order_class=OrderClass.OCO,
            limit_price=target,
            take_profit=TakeProfitRequest(limit_price=target),
            stop_loss=StopLossRequest(stop_price=stop),
        )
    bracket: dict[str, Any] = {
        **common,
        "time_in_force": TimeInForce.GTC,
        "order_class": OrderClass.BRACKET,
        "take_profit": TakeProfitRequest(limit_price=target),
        "stop_loss": StopLossRequest(stop_price=stop),
    }
    limit = worst(order)
    if math.isnan(limit):
        return MarketOrderRequest(**bracket)
    return LimitOrderRequest(**bracket, limit_price=limit)


def exits(order: Order) -> tuple[float, float]:
    """Stop and target on the tick. *Raises* `RefusedOrder` when they protect nothing."""
    stop, target = to_tick(order.signal.stop), to_tick(order.signal.target)
    is_long = (order.quantity > 0) == (order.leg == "entry")
    low, high = (stop, target) if is_long else (target, stop)
    if not (0 < low < high and math.isfinite(high)):
        raise RefusedOrder(
            f"{order.symbol}: stop and target must lie on either side of the entry, "
            f"were {stop:g} and {target:g} for {order.quantity} shares"
        )
    return stop, target


def worst(order: Order) -> float:
    """The limit of an entry on the tick, NaN: at the market. *Raises* `RefusedOrder`."""
    if order.leg != "entry" or math.isnan(order.signal.limit):
        return math.nan
    low, high = sorted(exits(order))
    limit = to_tick(order.signal.limit)
    if not low < limit < high:
        raise RefusedOrder(
            f"{order.symbol}: the limit of an entry must lie between its stop and its target, "
            f"was {limit:g} with {low:g} and {high:g}"
        )
    return limit


def flaw(order: Order, placed: BrokerOrder) -> str:
    """What is wrong with the legs of an entry; empty when nothing is."""
    stop, target = exits(order)
    guards = placed.legs if order.leg == "entry" else (placed, *placed.legs)
    legs = {leg.leg: leg for leg in guards}
    if len(guards) != 2 or set(legs) != {"stop", "target"}:
        return f"legs {sorted(leg.leg for leg in guards)} instead of stop and target"
    quantity = -order.quantity if order.leg == "entry" else order.quantity
    for name, price in (("stop", stop), ("target", target)):
        leg = legs[name]
        if leg.symbol != order.symbol or leg.quantity != quantity:
            return f"a {name} for {leg.quantity:g} {leg.symbol} instead of {quantity}"
        if not math.isclose(leg.price, price, rel_tol=1e-9):
            return f"a {name} at {leg.price:g} instead of {price:g}"
    return ""


def difference(order: Order, raw: object, found: BrokerOrder) -> str:
    """How an order at the broker differs from ours; empty when it is ours."""
    kind = {"entry": "bracket", "protect": "oco"}.get(order.leg, "simple")
    fields = words.mapping(raw, "an order")
    theirs, limit = fields.get("order_class") or "simple", worst(order)
    meant: tuple[object, ...] = (order.id, order.symbol, float(order.quantity), kind)
    there: tuple[object, ...] = (found.client_id, found.symbol, found.quantity, theirs)
    if order.leg == "entry":
        meant = (*meant, "market" if math.isnan(limit) else f"limit {limit:.10g}")
        there = (*there, words.terms(fields))
    return "" if meant == there else f"ours is {meant}, the broker's is {there}"
