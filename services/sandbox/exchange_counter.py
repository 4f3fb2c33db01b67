"""The counter where orders are handed in: checked in the broker's sequence, then taken."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from services.sandbox import exchange_books as books
from services.sandbox.exchange_ledger import locked
from services.sandbox.exchange_market import Market
from services.sandbox.exchange_rules import Wish, check_rules, read_request
from services.sandbox.exchange_values import (
    ZERO,
    Ticket,
    against_rules,
    bad_request,
    forbidden,
    text,
)


class Counter(Market):
    """Takes orders, or says why not."""

    @locked
    def submit(self, body: Any, at: datetime) -> dict[str, Any]:
        """Place an order. *Raises* `ApiError`."""
        self.now(at)
        wish = read_request(body)
        self.check_wish(wish)
        self.check_account(wish)
        ticket = self.ticket(wish)
        legs = self.legs(wish, ticket)
        ticket = self.keep(replace(ticket, legs=tuple(leg.id for leg in legs)))
        for leg in legs:
            self.keep(leg)
        answer = self.shown(ticket)
        if self.is_open:
            answer["status"] = "pending_new"  # told before the market has it
            self.enter(ticket)
        for leg in legs:
            self.emit("held", leg)
        return answer

    def check_wish(self, wish: Wish) -> None:
        """Whether the request may be asked of this market. *Raises* `ApiError`."""
        if wish.symbol not in self.symbols:
            raise against_rules(f'asset "{wish.symbol}" not found')
        if wish.symbol not in self.ticks:
            raise against_rules(f"no price for {wish.symbol} yet: wait for its first quote")
        check_rules(wish, self.ticks[wish.symbol])
        self.check_name(wish.client_order_id)

    def check_name(self, client_order_id: str) -> None:
        """Whether the client's id is new. *Raises* `ApiError`."""
        if client_order_id and client_order_id in self.names:
            raise bad_request("client_order_id must be unique")

    def check_account(self, wish: Wish) -> None:
        """Whether this account may do it now. *Raises* `ApiError`."""
        if self.blocks or self.configuration["suspend_trade"]:
            raise forbidden("new orders are rejected by user request or account restriction")
        symbol, sign = wish.symbol, wish.sign
        held, is_exit = self.held(symbol), wish.order_class == "oco"
        if held * sign < 0 and wish.order_class in ("bracket", "oto"):
            raise against_rules(f"{wish.order_class} orders must be entry orders")
        resting = self.open_tickets(symbol)
        closes = held * sign < 0 or is_exit
        if not closes:
            self.check_direction(resting, wish)
        for other in resting:
            if books.crossing(other, wish.side, wish.type, wish.limit):
                raise forbidden(
                    "potential wash trade detected. use complex orders",
                    reject_reason="opposite side order exists",
                    existing_order_id=other.id,
                )
        if closes:
            self.check_shares(symbol, sign, self.wanted(wish))
        else:
            price = books.reference(wish.sign, wish.limit, wish.stop, self.ticks[symbol])
            self.check_money(wish.notional or self.wanted(wish) * price)

    def check_direction(self, resting: list[Ticket], wish: Wish) -> None:
        """A position is opened from one side at a time. *Raises* `ApiError`."""
        if wish.sign < 0 and (wish.notional is not None or (wish.qty or ZERO) % 1):
            raise against_rules("fractional orders cannot be sold short")
        if wish.sign < 0 and self.configuration["no_shorting"]:
            raise forbidden("account is not allowed to short")
        held = self.held(wish.symbol)
        for other in resting:
            opens = other.role in ("", "entry") and other.sign * held >= 0
            if opens and other.side != wish.side:
                mine, theirs = ("long buy", "short sell")[:: wish.sign]
                raise forbidden(
                    f"cannot open a {mine} while a {theirs} order is open",
                    existing_order_id=other.id,
                )

    def wanted(self, wish: Wish) -> Decimal:
        """Shares an order is about; a notional one is estimated."""
        return wish.qty or round((wish.notional or ZERO) / self.ticks[wish.symbol].last, 9)

    def check_shares(self, symbol: str, sign: int, wanted: Decimal) -> None:
        """Whether an exit finds free shares. *Raises* `ApiError`."""
        held = self.held(symbol)
        existing = abs(held) if held * sign < 0 else ZERO
        reserved, related = self.reserved(symbol) if existing else (ZERO, [])
        available = max(ZERO, existing - reserved)
        if wanted > available:
            raise forbidden(
                "insufficient qty available for order "
                f"(requested: {text(wanted)}, available: {text(available)})",
                symbol=symbol,
                available=text(available),
                existing_qty=text(existing),
                held_for_orders=text(reserved),
                related_orders=related,
            )

    def check_money(self, cost: Decimal) -> None:
        """Whether the account can pay for it. *Raises* `ApiError`."""
        power = self.buying_power()
        if cost > power:
            raise forbidden(
                "insufficient buying power", buying_power=text(power), cost_basis=text(cost)
            )

    def ticket(self, wish: Wish) -> Ticket:
        """The order itself."""
        order = self.new_id("order")
        role = {"bracket": "entry", "oto": "entry", "oco": "target"}.get(wish.order_class, "")
        held = self.held(wish.symbol)
        intent = f"{wish.side}_to_{'close' if held * wish.sign < 0 else 'open'}"
        return Ticket(
            id=order,
            client_order_id=wish.client_order_id or self.new_id("client"),
            symbol=wish.symbol,
            side=wish.side,
            type=wish.type,
            tif=wish.tif,
            order_class=wish.order_class,
            role=role,
            status="accepted",
            created=self.at,
            updated=self.at,
            qty=wish.qty,
            notional=wish.notional,
            limit=wish.limit,
            stop=wish.stop,
            trail_price=wish.trail_price,
            trail_percent=wish.trail_percent,
            extended_hours=wish.extended_hours,
            position_intent=wish.position_intent or intent,
        )

    def legs(self, wish: Wish, parent: Ticket) -> list[Ticket]:
        """The exits that wait for it, or beside it."""
        is_exit = wish.order_class == "oco"
        base = replace(
            parent,
            role="target",
            status="held",
            side=parent.side if is_exit else ("sell" if parent.sign > 0 else "buy"),
            position_intent="sell_to_close" if is_exit == (parent.sign < 0) else "buy_to_close",
            parent=parent.id,
            live=is_exit,
            stop=None,
        )
        legs = []
        if wish.target is not None and wish.order_class in ("bracket", "oto"):
            legs.append(replace(base, type="limit", limit=wish.target))
        if wish.guard is not None:
            kind = "stop" if wish.guard_limit is None else "stop_limit"
            stop = replace(base, role="stop", type=kind, stop=wish.guard, limit=wish.guard_limit)
            legs.append(stop)
        return [
            replace(leg, id=self.new_id("order"), client_order_id=self.new_id("client"))
            for leg in legs
        ]
