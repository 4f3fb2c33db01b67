"""A book as a folder of bars: so that other policies can be tried on what was really heard."""

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from argo_alpine.bars import COLUMNS
from argo_alpine.domain import Bar, InvalidVote, Reading, exchange_date
from argo_alpine.loading import opens_split
from argo_alpine.readings import MAY, SAID
from argo_alpine.samples import READINGS, SPLITS, SUMS
from argo_alpine.votes import NEEDS, checked_values
from services.argo import store, tables
from services.argo.tape import Split
from services.argo.wire import loaded

VALUES = tuple(name for source in SAID for name in (*NEEDS[source], *MAY[source]))
Row = tuple[object, ...]


BRIEF = timedelta(seconds=1)  # what was heard at one close is not heard at the next


@dataclass(frozen=True, slots=True)
class Heard:
    """What a book has heard, as far as a backtest can hear it again."""

    is_sandbox: bool
    bars: dict[str, list[Bar]]  # by symbol, ascending
    splits: list[Split]  # of which the next bar shows that they came
    readings: list[Reading]  # ascending; dated at the close that they helped to decide
    unreadable: int  # readings that no vote could be made of


def heard(session: Session) -> Heard:
    """Everything in a book that a decision was made from, but for what bars say themselves."""
    bars = defaultdict[str, list[Bar]](list)
    for _, bar in store.read_bars(session):
        bars[bar.symbol].append(bar)
    for some in bars.values():
        some.sort(key=lambda bar: bar.at)
    said = [*said_at_closes(session)]
    sound = {(r.at, r.symbol, r.source): r for r in said if is_readable(r)}
    latest = {(split.symbol, split.at): split for split in store.read_splits(session)}
    came = [split for split in latest.values() if first_after(split, bars[split.symbol])]
    readings, unreadable = [sound[key] for key in sorted(sound)], len(said) - len(sound)
    return Heard(is_of_sandbox(session), dict(bars), came, readings, unreadable)


def is_of_sandbox(session: Session) -> bool:
    """Whether the last start was with stand-ins for the world."""
    start = store.last_entry(session, "start")
    return bool(start and json.loads(start.body).get("sandbox", False))


def said_at_closes(session: Session) -> Iterator[Reading]:
    """What X and Sonar said in each decision about a close, as of that close.

    A decision waits for sources, so what it heard may be younger than the close; the same reading
    may be old by the next one. A backtest decides at the close itself, and must hear the same.
    """
    kept = spoken(session)
    for entry in store.read_journal(session):
        if entry.kind != "moment":
            continue
        body = json.loads(entry.body)
        closes = {
            bar["symbol"]: datetime.fromisoformat(bar["at"]) for bar in body["moment"]["bars"]
        }
        for reading in (kept[name] for name in body["readings"] if name in kept):
            close = closes.get(reading.symbol)
            if close and reading.at <= entry.at < reading.expires:
                yield replace(reading, at=close, expires=close + BRIEF)


def spoken(session: Session) -> dict[str, Reading]:
    """Readings of X and Sonar by their digests."""
    table = tables.readings
    query = select(table.c.digest, table.c.body).where(table.c.source.in_(SAID))
    return {name: loaded(Reading, text) for name, text in session.execute(query)}


def is_readable(reading: Reading) -> bool:
    """Whether a vote can be made of it."""
    try:
        checked_values(reading)
    except InvalidVote:
        return False
    return True


def first_after(split: Split, bars: Sequence[Bar]) -> Bar | None:
    """The first bar in new shares, if its open shows them."""
    for last, following in pairwise(bars):
        if last.at == split.at:
            is_new = opens_split(last.close, following.open, split.ratio)
            return following if is_new else None
    return None


def written(at: datetime) -> str:
    """An instant as files have it."""
    return at.isoformat().replace("+00:00", "Z")


def tables_of(told: Heard) -> dict[str, tuple[Sequence[str], Iterable[Row]]]:
    """Header and rows of each file, by its name."""
    files: dict[str, tuple[Sequence[str], Iterable[Row]]] = {}
    for symbol, bars in sorted(told.bars.items()):
        rows = [(written(b.at), *(getattr(b, name) for name in COLUMNS)) for b in bars]
        files[f"{symbol}.csv"] = ("at", *COLUMNS), rows
    if told.splits:
        days = [(s, first_after(s, told.bars[s.symbol])) for s in told.splits]
        rows = [(s.symbol, exchange_date(bar.at), s.ratio) for s, bar in days if bar]
        files[SPLITS] = ("symbol", "date", "ratio"), rows
    if told.readings:
        rows = [
            (r.symbol, r.source, written(r.at), written(r.expires), *map(r.values.get, VALUES))
            for r in told.readings
        ]
        files[READINGS] = ("symbol", "source", "at", "expires", *VALUES), rows
    return files


def write(told: Heard, folder: Path) -> None:
    """Write a folder of bars, its checksums last. *Raises* `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    sums = []
    for name, (head, rows) in tables_of(told).items():
        path = folder / name
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([head, *rows])
        sums.append(f"{sha256(path.read_bytes()).hexdigest()}  {name}\n")
    (folder / SUMS).write_text("".join(sums), encoding="utf-8")
