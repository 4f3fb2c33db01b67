"""The journal read again: is it whole, where does the book stand, does it replay?"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

import argo_alpine
from argo_alpine.arithmetic import compiled_folder
from argo_alpine.domain import Bar, InvalidJournal, Reading
from argo_alpine.engine import Policy, decide
from argo_alpine.moments import Moment, Portfolio
from argo_alpine.records import Entry, canonical, content_id, digest, parsed, plain
from services.argo import store
from services.argo.beside import Ahead, Beside
from services.argo.tape import Split, Tape


def build() -> str:
    """A digest of the sources that decide."""
    return compiled_folder(Path(argo_alpine.__file__).parent).name.removeprefix("numba-")


def verified(session: Session) -> int:
    """The number of the last entry, each of which follows from the one before.

    What was found whole before is not read again; a replay reads everything.
    *Raises* `InvalidJournal`.
    """
    last = marked(session)
    for entry in sound(session, last):
        last = entry
    if last is not None:
        store.keep_mark(session, last)
    return last.seq if last else -1


def marked(session: Session) -> Entry | None:
    """The entry up to which the journal was found whole; None before. *Raises* `InvalidJournal`."""
    mark = store.find_mark(session)
    last = store.find_entry(session, mark["seq"]) if mark else None
    if mark and (last is None or last.id != mark["id"]):
        raise InvalidJournal(
            f"entry {mark['seq']} is not the one that was there; restore the book from a backup"
        )
    return last


def sound(session: Session, last: Entry | None = None) -> Iterator[Entry]:
    """Entries that follow each from the one before, from one on. *Raises* `InvalidJournal`."""
    for entry in store.read_journal(session, last.seq if last else -1):
        if wrong := flaw(last, entry):
            raise InvalidJournal(f"entry {entry.seq}: {wrong}; restore the book from a backup")
        yield (last := entry)


def flaw(last: Entry | None, entry: Entry) -> str:
    """Why an entry cannot follow another; empty when it can."""
    seq, previous = (last.seq + 1, last.id) if last else (0, "")
    if (entry.seq, entry.previous) != (seq, previous):
        return f"previous: it does not follow entry {seq - 1}"
    return "" if entry.id == content_id(entry) else "id: it was changed after it was written"


def revived(session: Session) -> Portfolio | None:
    """The book as of the last decision; None before the first start."""
    last = store.last_entry(session, "moment") or store.last_entry(session, "start")
    if last is None:
        return None
    body = json.loads(last.body)
    book: Portfolio = parsed(Portfolio, body.get("decision", body)["portfolio"])
    return book


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where a replay and the record part."""

    seq: int
    field: str
    recorded: str
    replayed: str

    def __str__(self) -> str:
        return f"entry {self.seq}, {self.field}: recorded {self.recorded}, replayed {self.replayed}"


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay found."""

    entries: int
    decisions: int  # identical ones
    divergence: Divergence | None = None


class Parted(InvalidJournal):
    """A book that holds something else than what was written down."""

    def __init__(self, divergence: Divergence) -> None:
        super().__init__(f"{divergence}; restore the book from a backup")
        self.divergence = divergence


@dataclass(frozen=True, slots=True)
class Page:
    """An entry of the journal, and what the book holds for it besides."""

    entry: Entry
    body: Any
    bars: list[Bar]  # that it was the first to use
    readings: tuple[Reading, ...]  # that it was decided from


def pages(session: Session, entries: Iterable[Entry]) -> Iterator[Page]:
    """Every entry with its bars and readings, held against what it says of them.

    What is kept after the last one tells that entries are gone. *Raises* `Parted`, and
    `InvalidJournal` where it cannot tell, or where an entry was found whole that is none of these.
    """
    ahead, last = Ahead(store.read_bars(session)), -1
    for entry in entries:
        body, used = json.loads(entry.body), list(ahead.until(entry.seq))
        if parted := misused(entry, body, used):
            raise Parted(parted)
        names = body["readings"] if entry.kind == "moment" else ()
        yield Page(entry, body, used, tuple(seen(session, entry.seq, name) for name in names))
        last = entry.seq
    if (furthest := store.furthest(session)) > last:
        raise Parted(Divergence(last + 1, "entries", f"up to entry {furthest}", "none"))
    marked(session)


def misused(entry: Entry, body: Any, used: list[Bar]) -> Divergence | None:
    """Where the bars that are kept for an entry are not those it speaks of."""
    if entry.kind == "bars":
        return difference(entry.seq, "bars", body["digest"], digest(used))
    said = body["moment"]["bars"] if entry.kind == "moment" else ()
    return difference(
        entry.seq, "moment.bars", by_name(said), by_name(map(plain, used))
    ) or difference(entry.seq, "moment.bars", f"{len(said)} bars", f"{len(used)} bars")


def by_name(bars: Iterable[Any]) -> Mapping[str, Any]:
    """Plain bars by symbol and time; the same instant can be written twice, so count as well."""
    return {f"{bar['symbol']} {bar['at'].removesuffix(':00.000000Z')}": bar for bar in bars}


def seen(session: Session, seq: int, name: str) -> Reading:
    """A reading that an entry names by its digest. *Raises* `Parted`."""
    reading = store.find_reading(session, name)
    if reading is None:
        raise Parted(Divergence(seq, "readings", name[:16], "nothing: it is gone"))
    if digest(reading) != name:
        raise Parted(Divergence(seq, "readings", name[:16], "not the reading that was kept"))
    return reading


@dataclass
class Stage:
    """What a replay knows so far."""

    policy: Policy
    tape: Tape
    book: Portfolio
    kept: list[Bar]


def replayed(
    session: Session,
    tick: Callable[[Replay], None] = lambda _: None,  # told after every entry what was found so far
) -> Replay:
    """Feed every recorded moment to `decide` again and compare; stops where they part."""
    stage: Stage | None = None
    last: Entry | None = None
    decisions = entries = 0
    beside = Beside(session)
    try:
        for page in pages(session, store.read_journal(session)):
            entry, parted = page.entry, None
            if entry.kind == "start":
                stage, parted = restarted(stage, entry, page.body)
            elif stage is not None:
                stage.kept += stage.tape.extend(page.bars)
                if entry.kind == "split":
                    stage.tape.note(parsed(Split, page.body))
                if entry.kind == "moment":
                    parted = differs(session, stage, page)
                    decisions += parted is None
            if parted is None and (wrong := flaw(last, entry)):
                name, _, why = wrong.partition(": ")
                parted = Divergence(entry.seq, name, entry.id[:16], why)
            if parted is None and (mislaid := beside.flaw(entry, page.body)):
                parted = Divergence(entry.seq, *mislaid)
            if parted is not None:
                return Replay(entries, decisions, parted)
            last, entries = entry, entries + 1
            tick(Replay(entries, decisions))
    except Parted as error:
        return Replay(entries, decisions, error.divergence)
    if astray := beside.rest(last.seq if last else 0):
        return Replay(entries, decisions, Divergence(astray[0], *astray[1]))
    return Replay(entries, decisions)


def restarted(
    stage: Stage | None, entry: Entry, body: Any
) -> tuple[Stage, Divergence | None]:  # and where its book differs from the one we had
    """Begin again where a start says the book stood, as the engine itself did."""
    book, policy = parsed(Portfolio, body["portfolio"]), parsed(Policy, body["policy"])
    splits = stage.tape.splits.values() if stage else ()
    after = Stage(policy, Tape(body["symbols"], policy.indicators, splits), book, [])
    if stage is None:
        return after, None
    after.kept = stage.kept
    after.tape.extend(stage.kept)
    return after, difference(entry.seq, "portfolio", body["portfolio"], plain(stage.book))


def differs(session: Session, stage: Stage, page: Page) -> Divergence | None:
    """Decide one moment again; where the outcome differs from the record."""
    entry, body = page.entry, page.body
    for reading in page.readings:
        if parted := mismatched(stage.tape, entry.seq, reading):
            return parted
    moment = replace(parsed(Moment, body["moment"]), readings=page.readings)
    decision = decide(moment, stage.book, stage.policy)
    stage.book = decision.portfolio
    if parted := difference(entry.seq, "decision", body["decision"], plain(decision)):
        return parted
    table = store.misread(session, entry, decision)
    return Divergence(entry.seq, table, "another content", "the decision's") if table else None


def mismatched(tape: Tape, seq: int, reading: Reading) -> Divergence | None:
    """Where a reading of ours does not follow from the bars that were kept."""
    if reading.source != "massive":
        return None
    return difference(
        seq,
        f"readings.massive.{reading.symbol}",
        plain(reading),
        plain(tape.reading(reading.symbol)),
    )


def difference(seq: int, where: str, recorded: Any, replayed: Any) -> Divergence | None:
    """The first field in which two plain values differ."""
    if recorded == replayed:
        return None
    if isinstance(recorded, dict) and isinstance(replayed, dict):
        for key in sorted({*recorded, *replayed}):
            found = difference(seq, f"{where}.{key}", recorded.get(key), replayed.get(key))
            if found:
                return found
    if isinstance(recorded, list) and isinstance(replayed, list) and len(recorded) == len(replayed):
        for i, (a, b) in enumerate(zip(recorded, replayed, strict=True)):
            if found := difference(seq, f"{where}.{i}", a, b):
                return found
    return Divergence(seq, where, shortened(recorded), shortened(replayed))


def shortened(value: Any) -> str:
    """A value as a few words."""
    text = canonical(value)
    return text if len(text) <= 80 else text[:77] + "..."
