"""Every code that a decision, an order or a source may carry, in plain English."""

from collections.abc import Mapping

DECIDED: Mapping[str, str] = {
    "signal": "The sources agree: a signal was made.",
    "silent": "No source had an opinion.",
    "quorum": "Too few sources had an opinion: together they hold less weight than the quorum.",
    "threshold": "The sources lean one way, but not surely enough to act.",
    "no_price": "The sources agree, but there is no fresh bar or price to build a signal on.",
    "held": "We already hold a position on that side, or are entering one.",
}
REFUSED: Mapping[str, str] = {
    "latched": "The kill latch is set: nothing is entered until an operator resumes.",
    "mode": "The book may not enter positions in its present mode, reducing or halted.",
    "closed": "The exchange is closed.",
    "symbol": "The symbol may not be traded: it is not on the list, or it is frozen.",
    "price": "There is no fresh price: the last quote is missing, not a price, or too old.",
    "account": "The broker's account cannot be used: unknown, inactive or blocked.",
    "duplicate": "This very order was sent before.",
    "rate": "Too many orders in the last minute.",
    "power": "No buying power is left after the buffer.",
    "daily_loss": "Today's loss has reached the daily limit.",
    "drawdown": "Equity has fallen from its peak by the limit or more.",
    "group": "Too many positions are open in the symbol's correlation group.",
    "exposure": "Gross or net exposure is at its limit.",
    "collar": "The price has moved too far from the close that was decided on.",
    "gapped": "The market opened beyond the signal's stop or target, or the stop was no price.",
}
PURSUED: Mapping[str, str] = {
    "ordered": "An entry order was sent on its way.",
    "closing": "The position on the other side is being closed first.",
    "working": "Another order of this symbol is still at work: the signal waits.",
    "no_account": "The broker does not say what the account holds: the signal waits.",
    "too_small": "The size came to less than one share.",
    "not_closed": "The position on the other side could not be closed: the signal was given up.",
    "expired": "The signal expired before it could be entered.",
}
ORDERS: Mapping[str, str] = {
    "new": "The order is written down and not sent yet.",
    "sending": "The order is being sent.",
    "unknown": "The broker may have the order or not: it is being looked up under its id.",
    "unsent": "The order was never sent: it came too late.",
    "open": "The order is with the broker and waits to be filled.",
    "partial": "The order is filled in part.",
    "filled": "The entry is filled: the position is open.",
    "canceled": "The order was canceled.",
    "expired": "The order expired unfilled.",
    "rejected": "The broker refused the order.",
    "finished": "The position was closed again.",
}
WHY: Mapping[str, str] = {**DECIDED, **REFUSED, **PURSUED}
SOURCES: Mapping[str, str] = {
    "ok": "answers",
    "waiting": "has not been asked yet",
    "failing": "fails",
    "open": "fails, and is left alone for a while",
    "spent": "has used up its budget for the day",
    "off": "is switched off",
}


def why(code: str) -> str:
    """A reason as a sentence; a code nobody knows stands for itself."""
    return WHY.get(code, f"{code} (a reason without words)")


def order(state: str) -> str:
    """Where an order is, as a sentence."""
    return ORDERS.get(state, f"{state} (a state without words)")
