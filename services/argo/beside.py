"""What a book keeps beside its journal, held against what was written down with each entry."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from math import isfinite
from typing import Any, Generic, TypeAlias, TypeVar

from sqlalchemy.orm import Session

from argo_alpine.domain import Fill
from argo_alpine.records import Entry, canonical, digest
from services.argo import store
from services.argo.wire import loaded

T = TypeVar("T")
Flaw: TypeAlias = tuple[str, str, str]  # where, what is kept there, what was written down


class Ahead(Generic[T]):
    """Rows in the order of the entries that they belong to, taken as far as asked."""

    def __init__(self, rows: Iterable[tuple[int, T]]) -> None:
        self.rows = iter(rows)
        self.next = next(self.rows, None)

    def until(self, seq: int) -> Iterator[T]:
        """What belongs to this entry, or to one before it that was not asked for."""
        while self.next is not None and self.next[0] <= seq:
            yield self.next[1]
            self.next = next(self.rows, None)


@dataclass(frozen=True, slots=True)
class Message:
    """What subscribers must hear, as it is kept."""

    kind: str
    hash: str
    body: str

    def __str__(self) -> str:
        return f"{self.kind} {self.hash[:12]} {self.body[:40]}"


class Beside:
    """Fills, orders, messages and the account, read along with the journal."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.fills = iter(store.read_fills(session))
        rows = store.read_messages(session)
        self.messages = Ahead((seq, Message(*message)) for seq, *message in rows)
        self.waiting: list[tuple[int | None, str]] = []  # fills that no moment knew so far
        self.orders: set[str] = set()  # ids of those that were meant

    def flaw(self, entry: Entry, body: Any) -> Flaw | None:
        """The first that is not as it was written down with this entry."""
        wrong = self.of_messages(entry, body)
        if entry.kind == "fill":
            return self.of_fill(entry) or wrong
        if entry.kind == "protect":
            return self.of_orders(entry, [body]) or wrong
        if entry.kind == "moment":
            orders = body["decision"]["orders"]
            wrong = self.of_account(entry, body) or self.of_orders(entry, orders) or wrong
            return self.of_news(entry, body) or wrong
        return wrong

    def of_fill(self, entry: Entry) -> Flaw | None:
        """A fill is kept once, in the order of the journal."""
        told, text = next(self.fills, (None, "none"))
        self.waiting.append((told, text))
        return None if text == entry.body else ("fills", text[:60], entry.body[:60])

    def of_news(self, entry: Entry, body: Any) -> Flaw | None:
        """The fills since the last moment are told to this one."""
        kept = [(told, canonical(loaded(Fill, text))) for told, text in self.waiting]
        said = [(entry.seq, canonical(fill)) for fill in body["moment"]["fills"]]
        self.waiting = []
        return None if kept == said else ("fills.told", told_to(kept), told_to(said))

    def of_account(self, entry: Entry, body: Any) -> Flaw | None:
        """Where the moment knew what the account was worth, that is kept."""
        worth = float(body["moment"]["account"]["equity"])
        row = store.find_equity(self.session, entry.seq)
        if not isfinite(worth) or (row and (row["at"], row["equity"]) == (entry.at, worth)):
            return None
        return "equity", str(row["equity"] if row else "none"), str(worth)

    def of_orders(self, entry: Entry, meant: Sequence[Any]) -> Flaw | None:
        """Every order is there; one that was meant again is as it was meant then."""
        for order in meant:
            self.orders.add(order["id"])
            seq, text = store.find_order(self.session, order["id"]) or (entry.seq, "none")
            if seq == entry.seq and text != canonical(order):
                return "intents", text[:60], canonical(order)[:60]
        return None

    def of_messages(self, entry: Entry, body: Any) -> Flaw | None:
        """The outbox holds what subscribers must hear of an entry, and nothing else."""
        kept, said = self.messages.until(entry.seq), self.announced(entry, body)
        pairs = zip_longest(kept, said)
        apart = next(((a or "none", b or "none") for a, b in pairs if a != b), None)
        return None if apart is None else ("outbox", str(apart[0]), str(apart[1]))

    def announced(self, entry: Entry, body: Any) -> Iterator[Message]:
        """The messages about an entry."""
        for kind, content in self.news(entry, body):
            text = canonical(content)
            yield Message(kind, digest((entry.id, kind, text)), text)

    def news(self, entry: Entry, body: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """What subscribers must hear of an entry."""
        if entry.kind == "fill":
            yield "fill", body | {"signal": None}
        if entry.kind == "moment":
            yield from (("signal", signal) for signal in body["decision"]["signals"])
            yield from (("trade", trade) for trade in body["decision"]["trades"])
            if mark := store.find_equity(self.session, entry.seq):
                yield "equity", mark

    def rest(self, last: int) -> tuple[int, Flaw] | None:
        """What belongs to nothing that was written down, and the entry that it names."""
        told = [(seq, text) for seq, text in self.waiting if seq is not None]
        for seq, text in (*self.fills, *told):
            return last if seq is None else seq, ("fills", text[:60], "none")
        for name, seq in store.order_entries(self.session):
            if name not in self.orders:
                return seq, ("intents", name, "none")
        for table, seq in store.astray(self.session):
            return seq, (table, "a row", "none: that entry is no decision")
        return None


def told_to(fills: Sequence[tuple[int | None, str]]) -> str:
    """Which moments were told of some fills, in words."""
    return ", ".join(f"told to {'none' if seq is None else seq}" for seq, _ in fills) or "none"
