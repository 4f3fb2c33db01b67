"""What happens to orders: prices fill them, the bell opens and ends them, groups follow."""

from datetime import datetime, timedelta
from decimal import Decimal

from services.sandbox import exchange_books as books
from services.sandbox.brackets import Change, after_end, after_fill
from services.sandbox.exchange_ledger import Ledger, locked
from services.sandbox.exchange_values import STOPS, ZERO, Tick, Ticket, text

GTC_LIFE = timedelta(days=90)
ENDS = {"canceled": "canceled_at", "expired": "expired_at", "rejected": "failed_at"}


class Market(Ledger):
    """Prices and bells, and what they do to tickets."""

    # the market

    @locked
    def quote(
        self,
        symbol: str,
        bid: Decimal | float,
        ask: Decimal | float,
        last: Decimal | float,
        at: datetime,
    ) -> None:
        """A new price: whatever it fills is filled."""
        self.now(at)
        tick = Tick(Decimal(str(bid)), Decimal(str(ask)), Decimal(str(last)), at)
        self.ticks[symbol] = tick
        self.closes.setdefault(symbol, tick.last)
        if not self.is_open:
            return
        waiting = [t for t in self.open_tickets(symbol) if t.is_executable]
        # stops before targets: a gap through both is a loss, never a gift
        for ticket in sorted(waiting, key=lambda t: t.type not in STOPS):
            self.meet(self.tickets[ticket.id], tick)

    @locked
    def resting(self, symbol: str, start: float, end: float) -> list[Decimal]:
        """The prices strictly between two, in the order of the way, at which somebody waits."""
        low, high = sorted((Decimal(str(start)), Decimal(str(end))))
        waits = {
            price
            for ticket in self.open_tickets(symbol)
            for price in (ticket.stop, ticket.limit)
            if price is not None and low < price < high
        }
        return sorted(waits, reverse=end < start)

    @locked
    def open_market(self, at: datetime) -> None:
        """The session begins: what was accepted while closed goes to the market."""
        self.now(at)
        self.is_open = True
        for ticket in self.open_tickets():
            if ticket.status == "accepted":
                self.enter(ticket)

    @locked
    def close_market(self, at: datetime) -> None:
        """The session ends: day orders expire and the account is marked."""
        self.now(at)
        self.is_open = False
        for ticket in self.open_tickets():
            ticket = self.tickets[ticket.id]
            if ticket.is_open and (ticket.tif == "day" or at - ticket.created >= GTC_LIFE):
                self.end(ticket, "expired")
        self.closes = {symbol: tick.last for symbol, tick in self.ticks.items()}
        self.last_equity = self.equity()
        self.marks.append((at.isoformat(), str(self.last_equity)))

    def meet(self, ticket: Ticket, tick: Tick) -> None:
        """An order meets a price."""
        if not ticket.is_executable:
            return  # its sibling was faster
        if ticket.type == "trailing_stop":
            hwm, stop = books.trailed(ticket, tick.last)
            ticket = self.change(ticket, hwm=hwm, stop=stop)
        if ticket.type in STOPS and not ticket.triggered and books.is_triggered(ticket, tick):
            status = "new" if ticket.status == "held" else ticket.status
            ticket = self.change(ticket, triggered=True, status=status)
        price = books.fill_price(ticket, tick)
        if price is not None:
            self.execute(ticket, self.shares(ticket, price), price)

    def shares(self, ticket: Ticket, price: Decimal) -> Decimal:
        """How many shares a fill at this price is for."""
        if ticket.notional is None:
            return ticket.left
        return round(ticket.notional / price, 9)

    # what happens to an order

    def enter(self, ticket: Ticket) -> None:
        """An order goes to the market."""
        self.emit("pending_new", self.change(ticket, status="pending_new"))
        ticket = self.change(self.tickets[ticket.id], status="new")
        self.emit("new", ticket, execution_id=self.new_id("execution"))

    def execute(self, ticket: Ticket, qty: Decimal, price: Decimal) -> None:
        """Shares change hands; the rest of the group learns of it."""
        filled = ticket.filled + qty
        whole = ticket.qty if ticket.notional is None else filled
        average = ((ticket.average or ZERO) * ticket.filled + price * qty) / filled
        ticket = self.change(
            ticket,
            qty=whole,
            filled=filled,
            average=average,
            filled_at=self.at if filled == whole else None,
            status="filled" if filled == whole else "partially_filled",
        )
        self.book(ticket, qty, price)
        execution = self.new_id("execution")
        self.record(ticket, qty, price, execution)
        self.emit(
            "partial_fill" if ticket.left else "fill",
            ticket,
            execution_id=execution,
            price=text(price),
            qty=text(qty),
            position_qty=text(self.held(ticket.symbol)),
        )
        self.apply(after_fill(ticket, self.family(ticket)))

    def end(self, ticket: Ticket, status: str) -> None:
        """An order ends without (all of) its shares."""
        ticket = self.change(ticket, status=status, **{ENDS[status]: self.at})
        self.emit(status, ticket)
        self.apply(after_end(ticket, self.family(ticket)))

    def apply(self, changes: list[Change]) -> None:
        """Do to related orders what follows."""
        for change in changes:
            ticket = self.tickets[change.order]
            if not ticket.is_open:
                continue
            if change.what == "cancel":
                self.end(ticket, "canceled")
            elif change.what == "resize":
                self.emit("restated", self.change(ticket, qty=change.qty))
            else:
                self.activate(ticket)

    def activate(self, leg: Ticket) -> None:
        """A leg begins to protect; the stop goes on showing `held`, as real accounts do."""
        leg = self.change(leg, live=True)
        if leg.role == "target":
            leg = self.change(leg, status="new")
            self.emit("new", leg, execution_id=self.new_id("execution"))
