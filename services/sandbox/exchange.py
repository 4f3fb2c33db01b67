"""A paper broker as a state machine: quotes and orders in, events out; no clock, no chance."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from services.sandbox import exchange_books as books
from services.sandbox import exchange_views as views
from services.sandbox.exchange_counter import Counter
from services.sandbox.exchange_ledger import Event, locked
from services.sandbox.exchange_rules import check_penny, optional
from services.sandbox.exchange_values import (
    ZERO,
    ApiError,
    Ticket,
    against_rules,
    bad_request,
    missing,
    number,
    text,
)

__all__ = ["ApiError", "Exchange"]

CONFIGURABLE = ("no_shorting", "suspend_trade", "fractional_trading", "trade_confirm_email")


class Exchange(Counter):
    """What a client, or whoever plays the market, may ask of the broker."""

    # orders

    @locked
    def cancel(self, order_id: str, at: datetime) -> None:
        """End an order, and its group. *Raises* `ApiError`."""
        self.now(at)
        ticket = self.find(order_id)
        if not ticket.is_open:
            raise against_rules(f'order is already in "{ticket.status}" state')
        self.end(ticket, "canceled")

    @locked
    def cancel_all(self, at: datetime) -> list[dict[str, Any]]:
        """End every open order; says which."""
        self.now(at)
        heads = self.open_tickets()
        for ticket in heads:
            if self.tickets[ticket.id].is_open:
                self.end(self.tickets[ticket.id], "canceled")
        return [{"id": ticket.id, "status": 200} for ticket in heads]

    @locked
    def replace(self, order_id: str, body: Mapping[str, Any], at: datetime) -> dict[str, Any]:
        """A new order in an open one's place: other prices or, alone, another size."""
        self.now(at)
        old = self.find(order_id)
        if not old.is_open or old.status == "pending_new":
            raise bad_request("only open orders can be replaced")
        fields = self.replacement(old, body)
        new = replace(
            old,
            id=self.new_id("order"),
            client_order_id=body.get("client_order_id") or self.new_id("client"),
            created=self.at,
            updated=self.at,
            replaces=old.id,
            filled=ZERO,
            average=None,
            filled_at=None,
            triggered=False,
            **fields,
        )
        self.emit("replaced", self.succeed(old, new))
        if new.status != "held" and self.is_open:
            self.enter(self.tickets[new.id])
        return self.shown(new)

    def replacement(self, old: Ticket, body: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that change. *Raises* `ApiError`."""
        self.check_name(str(body.get("client_order_id") or ""))
        wanted: dict[str, Any] = {
            "qty": optional(body, "qty") or old.qty,
            "limit": optional(body, "limit_price") or old.limit,
            "stop": optional(body, "stop_price") or old.stop,
            "tif": body.get("time_in_force") or old.tif,
        }
        if all(getattr(old, name) == value for name, value in wanted.items()):
            raise against_rules("order parameters are not changed")
        if old.role and wanted["qty"] != old.qty:
            raise against_rules("qty of bracket, oco and oto orders cannot be replaced")
        if wanted["tif"] not in ("day", "gtc"):
            raise bad_request(f"invalid time_in_force: {wanted['tif']}")
        for name, kept in (("limit", old.limit), ("stop", old.stop)):
            check_penny(f"{name}_price", wanted[name])
            if kept is None and wanted[name] is not None:
                raise bad_request(f"{old.type} orders have no {name} price")
        left = (wanted["qty"] or ZERO) - old.filled
        if old.notional is None and left <= 0:
            raise against_rules("qty must be above what is filled already")
        self.check_larger(old, left, wanted["limit"])
        return {**wanted, "qty": left if old.notional is None else None}

    def check_larger(self, old: Ticket, left: Decimal, limit: Decimal | None) -> None:
        """Whether the account can carry the successor. *Raises* `ApiError`."""
        held = self.held(old.symbol)
        if held * old.sign < 0:
            if not old.role:
                self.check_shares(old.symbol, old.sign, left - old.left)
            return
        if old.role in ("", "entry"):
            tick = self.ticks[old.symbol]
            before = old.left * books.reference(old.sign, old.limit, old.stop, tick)
            self.check_money(left * books.reference(old.sign, limit, old.stop, tick) - before)

    def succeed(self, old: Ticket, new: Ticket) -> Ticket:
        """Put the new order where the old one was in its group; returns the old."""
        status = "held" if old.status == "held" else "accepted"
        self.keep(replace(new, status=status))
        for leg in old.legs:
            self.change(self.tickets[leg], parent=new.id)
        if old.parent:
            head = self.tickets[old.parent]
            legs = tuple(new.id if leg == old.id else leg for leg in head.legs)
            self.keep(replace(head, legs=legs))
        return self.change(old, status="replaced", replaced_at=self.at, replaced_by=new.id, legs=())

    def find(self, order_id: str) -> Ticket:
        """An order by its id. *Raises* `ApiError`."""
        if order_id not in self.tickets:
            raise missing(f"order not found for {order_id}")
        return self.tickets[order_id]

    @locked
    def order(self, order_id: str, nested: bool = True) -> dict[str, Any]:
        """An order by its id. *Raises* `ApiError`."""
        return self.shown(self.find(order_id), nested)

    @locked
    def named_order(self, client_order_id: str) -> dict[str, Any]:
        """An order by the client's id. *Raises* `ApiError`."""
        if client_order_id not in self.names:
            raise missing(f"order not found for {client_order_id}")
        return self.shown(self.tickets[self.names[client_order_id]])

    @locked
    def orders(
        self,
        status: str = "open",
        limit: int = 50,
        after: datetime | None = None,
        until: datetime | None = None,
        direction: str = "desc",
        nested: bool = False,
        symbols: Sequence[str] = (),
        side: str = "",
    ) -> list[dict[str, Any]]:
        """Orders placed in a period; a leg whose parent is not listed stands alone."""
        found = {
            t.id: t
            for t in self.tickets.values()
            if (status == "all" or t.is_open == (status == "open"))
            and (after is None or t.created > after)
            and (until is None or t.created < until)
            and (not symbols or t.symbol in symbols)
            and side in ("", t.side)
        }
        listed = [t for t in found.values() if not (nested and t.parent in found)]
        if direction == "desc":
            listed.reverse()
        return [self.shown(t, nested) for t in listed[:limit]]

    # positions

    @locked
    def position(self, symbol: str) -> dict[str, Any]:
        """What is held of a symbol or asset id. *Raises* `ApiError`."""
        symbol = self.symbol_of(symbol)
        held, last = self.holdings[symbol], self.ticks[symbol].last
        reserved, _ = self.reserved(symbol)
        free = (abs(held.quantity) - reserved) * (1 if held.quantity > 0 else -1)
        return views.position(symbol, held, last, self.closes.get(symbol, last), free)

    def symbol_of(self, name: str) -> str:
        """The held symbol a name or asset id stands for. *Raises* `ApiError`."""
        for symbol in self.holdings:
            if name.upper() == symbol or name == views.asset_id(symbol):
                return symbol
        raise missing("position does not exist")

    @locked
    def positions(self) -> list[dict[str, Any]]:
        """All that is held."""
        return [self.position(symbol) for symbol in self.holdings]

    @locked
    def close_position(
        self, symbol: str, at: datetime, qty: Any = None, percentage: Any = None
    ) -> dict[str, Any]:
        """A market order for (a part of) what is held. *Raises* `ApiError`."""
        symbol = self.symbol_of(symbol)
        held = self.held(symbol)
        wanted = abs(held)
        if qty is not None:
            wanted = number(qty, "qty")
        elif percentage is not None:
            wanted = round(wanted * number(percentage, "percentage") / 100, 9)
        side = "sell" if held > 0 else "buy"
        body = {"symbol": symbol, "qty": wanted, "side": side}
        return self.submit({**body, "type": "market", "time_in_force": "day"}, at)

    @locked
    def close_all(self, at: datetime, cancel_orders: bool = False) -> list[dict[str, Any]]:
        """Close every position; what is refused is said one by one."""
        if cancel_orders:
            self.cancel_all(at)
        return [self.closed(symbol, at) for symbol in tuple(self.holdings)]

    def closed(self, symbol: str, at: datetime) -> dict[str, Any]:
        """One row of `close_all`."""
        try:
            return {"symbol": symbol, "status": 200, "body": self.close_position(symbol, at)}
        except ApiError as error:
            return {"symbol": symbol, "status": error.status, "body": error.body}

    # the account

    @locked
    def account(self) -> dict[str, Any]:
        """Money, and whether it may trade."""
        long, short = books.market_values(self.holdings, self.ticks)
        suspended = ("trade_suspended_by_user",) if self.configuration["suspend_trade"] else ()
        return views.account(
            self.cash,
            long,
            short,
            self.buying_power(),
            self.last_equity,
            self.multiplier,
            (*self.blocks, *suspended),
        )

    @locked
    def configure(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change what a client may change of the account's configuration."""
        known = {k: v for k, v in changes.items() if k in CONFIGURABLE and v is not None}
        self.configuration.update(known)
        return dict(self.configuration)

    @locked
    def history(self) -> dict[str, Any]:
        """Equity at every close."""
        equities = [Decimal(equity) for _, equity in self.marks]
        profits = [b - a for a, b in zip([self.base, *equities], equities, strict=False)]
        return {
            "timestamp": [int(datetime.fromisoformat(at).timestamp()) for at, _ in self.marks],
            "equity": [float(equity) for equity in equities],
            "profit_loss": [float(profit) for profit in profits],
            "profit_loss_pct": [round(float(profit / self.base), 9) for profit in profits],
            "base_value": float(self.base),
            "timeframe": "1D",
        }

    @locked
    def activities(
        self,
        after: datetime | None = None,
        until: datetime | None = None,
        direction: str = "desc",
        page_size: int = 100,
        page_token: str = "",
    ) -> list[Event]:
        """Fills of a period; the page after the one that ended with `page_token`."""
        found = [
            fill
            for fill in self.fills
            if (after is None or datetime.fromisoformat(fill["transaction_time"]) > after)
            and (until is None or datetime.fromisoformat(fill["transaction_time"]) < until)
        ]
        if direction == "desc":
            found.reverse()
        ids = [fill["id"] for fill in found]
        start = ids.index(page_token) + 1 if page_token in ids else 0
        return found[start : start + page_size]

    # whoever plays the market

    @locked
    def fill(self, order_id: str, qty: Any, price: Any, at: datetime) -> dict[str, Any]:
        """Fill a part of an order, whatever the quote says. *Raises* `ApiError`."""
        self.now(at)
        ticket, shares = self.find(order_id), number(qty, "qty")
        if not self.is_open or not ticket.is_executable:
            raise against_rules(f'an order in "{ticket.status}" state cannot be filled now')
        if shares > self.shares(ticket, number(price, "price")):
            raise against_rules(f"only {text(ticket.left)} are left to be filled")
        self.execute(ticket, shares, number(price, "price"))
        return self.shown(self.tickets[order_id])

    @locked
    def reject(self, order_id: str, at: datetime) -> dict[str, Any]:
        """Let the venue refuse an order that was accepted. *Raises* `ApiError`."""
        self.now(at)
        if not self.find(order_id).is_open:
            raise against_rules(f'order is already in "{self.find(order_id).status}" state')
        self.end(self.find(order_id), "rejected")
        return self.shown(self.find(order_id))

    @locked
    def block(self, *names: str) -> None:
        """Set the account's blocks, such as `trading_blocked`; none lifts them all."""
        if unknown := set(names) - set(views.BLOCKS):
            raise bad_request(f"unknown blocks {sorted(unknown)}: use {list(views.BLOCKS)}")
        self.blocks = names
