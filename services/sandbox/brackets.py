"""What an order's fate means for the orders tied to it: pure, one table for every class."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from services.sandbox.exchange_values import Ticket


@dataclass(frozen=True, slots=True)
class Change:
    """Something to be done to a related order."""

    order: str
    what: str  # activate, cancel, resize
    qty: Decimal | None = None  # for resize


def siblings(ticket: Ticket, family: Sequence[Ticket]) -> list[Ticket]:
    """The other exits of its group that are still open."""
    return [
        other
        for other in family
        if other.id != ticket.id and other.role in ("target", "stop") and other.is_open
    ]


def after_fill(ticket: Ticket, family: Sequence[Ticket]) -> list[Change]:
    """An entry filled to the end wakes its legs; an exit takes from its sibling what it sold."""
    if ticket.role == "entry":
        if ticket.status != "filled":
            return []  # a part of an entry wakes nobody: the position stands naked
        return [Change(leg.id, "activate") for leg in siblings(ticket, family)]
    if ticket.role not in ("target", "stop"):
        return []
    if ticket.status == "filled":
        return [Change(other.id, "cancel") for other in siblings(ticket, family)]
    return [
        Change(other.id, "resize", other.filled + ticket.left) for other in siblings(ticket, family)
    ]


def after_end(ticket: Ticket, family: Sequence[Ticket]) -> list[Change]:
    """Without its entry no leg lives; whoever cancels one order of a group cancels the group."""
    ends_group = ticket.role == "entry" or ticket.status == "canceled"
    if not ticket.role or not ends_group:
        return []
    return [Change(other.id, "cancel") for other in family if other.id != ticket.id]
