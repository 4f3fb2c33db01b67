"""Accounts, orders and positions as Alpaca's API spells them."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from services.sandbox.exchange_values import ZERO, Holding, Ticket, identity, stamp, text

HALF = Decimal("0.5")
MAINTENANCE = Decimal("0.3")
NYSE = {"IBM"}
BLOCKS = ("trading_blocked", "transfers_blocked", "account_blocked", "trade_suspended_by_user")


def asset_id(symbol: str) -> str:
    """The id of an asset."""
    return identity("alpaca", "asset", symbol)


def exchange_of(symbol: str) -> str:
    """Where an asset is listed."""
    return "NYSE" if symbol in NYSE else "NASDAQ"


def asset(symbol: str) -> dict[str, Any]:
    """What can be traded."""
    return {
        "id": asset_id(symbol),
        "class": "us_equity",
        "exchange": exchange_of(symbol),
        "symbol": symbol,
        "name": f"{symbol} (SANDBOX)",
        "status": "active",
        "tradable": True,
        "marginable": True,
        "maintenance_margin_requirement": 30,
        "shortable": True,
        "easy_to_borrow": True,
        "fractionable": True,
        "attributes": [],
    }


def order(ticket: Ticket, legs: Sequence[Ticket] = ()) -> dict[str, Any]:
    """One order, with its legs if asked for."""
    return {
        "id": ticket.id,
        "client_order_id": ticket.client_order_id,
        "created_at": stamp(ticket.created),
        "updated_at": stamp(ticket.updated),
        "submitted_at": stamp(ticket.created),
        "filled_at": stamp(ticket.filled_at),
        "expired_at": stamp(ticket.expired_at),
        "canceled_at": stamp(ticket.canceled_at),
        "failed_at": stamp(ticket.failed_at),
        "replaced_at": stamp(ticket.replaced_at),
        "replaced_by": ticket.replaced_by or None,
        "replaces": ticket.replaces or None,
        "asset_id": asset_id(ticket.symbol),
        "symbol": ticket.symbol,
        "asset_class": "us_equity",
        "notional": text(ticket.notional),
        "qty": None if ticket.notional is not None else text(ticket.qty),
        "filled_qty": text(ticket.filled),
        "filled_avg_price": text(ticket.average),
        "order_class": ticket.order_class,
        "order_type": ticket.type,
        "type": ticket.type,
        "side": ticket.side,
        "position_intent": ticket.position_intent or None,
        "time_in_force": ticket.tif,
        "limit_price": text(ticket.limit),
        "stop_price": text(ticket.stop),
        "status": ticket.status,
        "extended_hours": ticket.extended_hours,
        "legs": [order(leg) for leg in legs] or None,
        "trail_percent": text(ticket.trail_percent),
        "trail_price": text(ticket.trail_price),
        "hwm": text(ticket.hwm),
    }


def position(
    symbol: str, held: Holding, last: Decimal, yesterday: Decimal, available: Decimal
) -> dict[str, Any]:
    """One holding at the last price."""
    cost, value = held.quantity * held.price, held.quantity * last
    profit, today = value - cost, held.quantity * (last - yesterday)
    return {
        "asset_id": asset_id(symbol),
        "symbol": symbol,
        "exchange": exchange_of(symbol),
        "asset_class": "us_equity",
        "asset_marginable": True,
        "qty": text(held.quantity),
        "qty_available": text(available),
        "avg_entry_price": text(held.price),
        "side": "long" if held.quantity > 0 else "short",
        "market_value": text(value),
        "cost_basis": text(cost),
        "unrealized_pl": text(profit),
        "unrealized_plpc": text(profit / abs(cost) if cost else ZERO),
        "unrealized_intraday_pl": text(today),
        "unrealized_intraday_plpc": text(today / abs(held.quantity * yesterday)),
        "current_price": text(last),
        "lastday_price": text(yesterday),
        "change_today": text(last / yesterday - 1),
    }


def account(
    cash: Decimal,
    long: Decimal,
    short: Decimal,
    buying_power: Decimal,
    last_equity: Decimal,
    multiplier: int,
    blocks: Sequence[str],
) -> dict[str, Any]:
    """The account's money and whether it may trade."""
    equity, exposure = cash + long + short, long - short
    return {
        "id": identity("alpaca", "account"),
        "account_number": "SANDBOX001",
        "status": "ACTIVE",
        "crypto_status": "INACTIVE",
        "currency": "USD",
        "cash": text(cash),
        "buying_power": text(buying_power),
        "regt_buying_power": text(buying_power),
        "non_marginable_buying_power": text(max(ZERO, min(cash, buying_power))),
        "options_buying_power": "0",
        "options_approved_level": 0,
        "options_trading_level": 0,
        "equity": text(equity),
        "portfolio_value": text(equity),
        "last_equity": text(last_equity),
        "long_market_value": text(long),
        "short_market_value": text(short),
        "initial_margin": text(exposure * HALF),
        "maintenance_margin": text(exposure * MAINTENANCE),
        "last_maintenance_margin": "0",
        "sma": "0",
        "accrued_fees": "0",
        "multiplier": str(multiplier),
        "shorting_enabled": True,
        "created_at": "2000-01-03T00:00:00Z",
        **{name: name in blocks for name in BLOCKS},
    }
