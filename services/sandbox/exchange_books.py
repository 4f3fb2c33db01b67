"""What the account holds, what open orders reserve of it, and what may still be bought."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from services.sandbox.exchange_values import STOPS, ZERO, Holding, Tick, Ticket

BUY_COLLAR, SHORT_COLLAR = Decimal("1.04"), Decimal("1.03")
NOTHING = Holding(ZERO, ZERO)


def booked(held: Holding, quantity: Decimal, price: Decimal) -> Holding:
    """A holding after a fill (signed): adding averages, reducing keeps, turning starts anew."""
    total = held.quantity + quantity
    if held.quantity * quantity >= 0:
        paid = held.quantity * held.price + quantity * price
        return Holding(total, paid / total if total else ZERO)
    return Holding(total, held.price if total * held.quantity > 0 else price)


def reference(sign: int, limit: Decimal | None, stop: Decimal | None, tick: Tick) -> Decimal:
    """The price at which an order that opens is charged before it is filled."""
    if sign < 0:
        return max(limit or ZERO, tick.ask * SHORT_COLLAR)
    return limit or (stop or tick.ask) * BUY_COLLAR


def group(ticket: Ticket) -> str:
    """Exits that replace one another hold the same shares."""
    return ticket.parent or ticket.id


def reserved_shares(held: Decimal, tickets: Iterable[Ticket]) -> tuple[Decimal, list[str]]:
    """Shares that open exits hold, and those exits' ids; a group counts once."""
    exits = [t for t in tickets if t.is_open and t.live and t.sign * held < 0]
    most: dict[str, Decimal] = {}
    for ticket in exits:
        most[group(ticket)] = max(most.get(group(ticket), ZERO), ticket.left)
    return sum(most.values(), ZERO), [t.id for t in exits]


def reserved_cash(
    tickets: Iterable[Ticket], holdings: Mapping[str, Holding], ticks: Mapping[str, Tick]
) -> Decimal:
    """What open orders that would enlarge a position may cost."""
    total = ZERO
    for ticket in tickets:
        held = holdings.get(ticket.symbol, NOTHING).quantity
        if not ticket.is_open or ticket.role in ("target", "stop") or ticket.sign * held < 0:
            continue
        price = reference(ticket.sign, ticket.limit, ticket.stop, ticks[ticket.symbol])
        total += ticket.notional or ticket.left * price
    return total


def market_values(
    holdings: Mapping[str, Holding], ticks: Mapping[str, Tick]
) -> tuple[Decimal, Decimal]:
    """What is held long and, below zero, short."""
    values = [held.quantity * ticks[symbol].last for symbol, held in holdings.items()]
    return sum((v for v in values if v > 0), ZERO), sum((v for v in values if v < 0), ZERO)


def crossing(ticket: Ticket, side: str, type_: str, limit: Decimal | None) -> bool:
    """Whether a new order could trade with a resting one of the other side."""
    if not (ticket.is_open and ticket.live) or ticket.side == side:
        return False
    if limit is None or ticket.limit is None or type_ in STOPS or ticket.type in STOPS:
        return True
    buys, sells = (limit, ticket.limit) if side == "buy" else (ticket.limit, limit)
    return buys >= sells


def trailed(ticket: Ticket, last: Decimal) -> tuple[Decimal, Decimal]:
    """The best price a trailing stop has seen, and where that puts its trigger."""
    best = max if ticket.side == "sell" else min
    hwm = last if ticket.hwm is None else best(ticket.hwm, last)
    distance = ticket.trail_price or hwm * (ticket.trail_percent or ZERO) / 100
    return hwm, hwm + ticket.sign * distance


def is_triggered(ticket: Ticket, tick: Tick) -> bool:
    """Whether a stop's price has been traded."""
    if ticket.stop is None or ticket.triggered:
        return ticket.triggered
    return tick.last >= ticket.stop if ticket.side == "buy" else tick.last <= ticket.stop


def fill_price(ticket: Ticket, tick: Tick) -> Decimal | None:
    """Where this quote fills an order, if it does: buys at the ask, sells at the bid."""
    if ticket.type in STOPS and not is_triggered(ticket, tick):
        return None
    market = tick.ask if ticket.side == "buy" else tick.bid
    if ticket.limit is None or ticket.sign * (ticket.limit - market) >= 0:
        return market
    return None
