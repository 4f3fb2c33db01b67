"""A book as a folder of bars: so that other policies can be tried on what was really heard."""

import csv
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from glob import escape
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

from sqlalchemy.orm import Session

from argo_alpine.bars import COLUMNS
from argo_alpine.domain import Bar, InvalidJournal, InvalidVote, Reading, exchange_date
from argo_alpine.loading import opens_split
from argo_alpine.readings import MAY, SAID
from argo_alpine.samples import READINGS, SPLITS, SUMS, SYMBOL, are_bars
from argo_alpine.votes import NEEDS, checked_values
from services.argo import store
from services.argo.journal import Page, pages, sound
from services.argo.tape import Split

VALUES = tuple(name for source in SAID for name in (*NEEDS[source], *MAY[source]))
BRIEF = timedelta(seconds=1)  # what was heard at one close is not heard at the next
Row = tuple[object, ...]


@dataclass
class Heard:
    """What a book has heard, as far as a backtest can hear it again."""

    bars: dict[str, list[Bar]] = field(default_factory=lambda: defaultdict(list))  # ascending
    splits: list[Row] = field(default_factory=list)  # that the next bar shows: symbol, day, ratio
    readings: list[Reading] = field(default_factory=list)  # dated at the close they helped decide
    unreadable: int = 0  # readings that no vote could be made of
    decided: int = 0  # closes of symbols, live
    apart: int = 0  # of them without what Alpha Vantage says of that very close
    first: date | None = None  # on which one was decided live
    starts: set[bool | None] = field(default_factory=set)  # with stand-ins; none: not written down

    @property
    def is_sandbox(self) -> bool | None:
        """Whether the world ever was a stand-in; none: an older book does not say."""
        return True if True in self.starts else None if None in self.starts else False

    def take(self, page: Page) -> None:
        """Take in an entry, with what the book holds for it."""
        if page.entry.kind == "start":
            self.starts.add(page.body.get("sandbox"))
        for bar in page.bars:
            self.bars[bar.symbol].append(bar)
        if page.entry.kind == "moment" and page.bars:
            closes, at = {bar.symbol: bar.at for bar in page.bars}, page.entry.at
            known = (r for r in page.readings if r.symbol in closes)
            self.add([r for r in known if r.at <= at < r.expires], closes)

    def add(self, seen: Sequence[Reading], closes: Mapping[str, datetime]) -> None:
        """Take in what one decision about some closes was made from."""
        vendor = {
            r.symbol for r in seen if r.source == "alpha_vantage" and r.at == closes[r.symbol]
        }
        said = [r for r in seen if r.source in SAID]
        readable = [r for r in said if is_readable(r)]
        self.decided += len(closes)
        self.apart += len(closes) - len(vendor)
        self.unreadable += len(said) - len(readable)
        self.first = self.first or min(map(exchange_date, closes.values()))
        self.readings += [
            replace(r, at=closes[r.symbol], expires=closes[r.symbol] + BRIEF) for r in readable
        ]


def heard(session: Session) -> Heard:
    """Everything in a book that a decision was made from, but for what bars say themselves.

    A decision waits for sources, so what it heard may be younger than the close; the same reading
    may be old by the next one. A backtest decides at the close itself, and must hear the same.
    What the journal vouches for is heard, and nothing else. *Raises* `InvalidJournal` for a symbol
    that is no name of a file, or a damaged book.
    """
    told = Heard()
    for page in pages(session, sound(session)):
        told.take(page)
    for symbol, some in told.bars.items():
        check_symbol(symbol)
        some.sort(key=lambda bar: bar.at)
    latest = {(split.symbol, split.at): split for split in store.read_splits(session)}
    for split in latest.values():
        if new := first_after(split, told.bars[split.symbol]):
            told.splits.append((split.symbol, exchange_date(new.at), split.ratio))
    told.readings.sort(key=lambda r: (r.at, r.symbol, r.source))
    return told


def check_symbol(symbol: str) -> None:
    """*Raises* `InvalidJournal` for what a folder of bars could not hold."""
    is_name = SYMBOL.fullmatch(symbol) and symbol == symbol.upper()
    if not (is_name and are_bars(Path(f"{symbol}.csv"))):
        raise InvalidJournal(f"{symbol!r} is no symbol that a folder of bars can hold")


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
        files[SPLITS] = ("symbol", "date", "ratio"), told.splits
    if told.readings:
        rows = [
            (r.symbol, r.source, written(r.at), written(r.expires), *map(r.values.get, VALUES))
            for r in told.readings
        ]
        files[READINGS] = ("symbol", "source", "at", "expires", *VALUES), rows
    return files


def write_files(told: Heard, folder: Path) -> None:
    """Write the files of a folder of bars, and their checksums."""
    sums = []
    for name, (head, rows) in tables_of(told).items():
        path = folder / name
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([head, *rows])
        sums.append(f"{sha256(path.read_bytes()).hexdigest()}  {name}\n")
    (folder / SUMS).write_text("".join(sums), encoding="utf-8")


def write(told: Heard, folder: Path) -> None:
    """Write a folder of bars whole, or not at all. *Raises* `OSError`."""
    for left in leftovers(folder):
        shutil.rmtree(left)
    part = part_of(folder)
    part.mkdir(parents=True)
    try:
        write_files(told, part)
        put(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)  # what went wrong first is what is told
        raise


PART = ".export-"  # and the process: what is written, under a name that nobody else gives


def part_of(folder: Path) -> Path:
    """Where it is written at first: on the device of its place, which may be a mount point."""
    if folder.is_dir():
        return folder / f"{PART}{os.getpid()}"
    return folder.with_name(f".{folder.name}{PART}{os.getpid()}")


def leftovers(folder: Path) -> list[Path]:
    """The parts that exports to a place have left which were killed."""
    beside = folder.parent.glob(f".{escape(folder.name)}{PART}*")
    return [path for path in (*folder.glob(f"{PART}*"), *beside) if is_left(path)]


def is_left(path: Path) -> bool:
    """Whether this is a part of an export that nobody will finish, and nothing else."""
    number = re.fullmatch(rf"(?:\..+)?{re.escape(PART)}([1-9][0-9]{{0,8}})", path.name)
    if number is None or path.is_symlink() or not path.is_dir():
        return False
    return is_gone(int(number[1])) and all(
        file.suffix == ".csv" or file.name == SUMS for file in path.iterdir()
    )


def is_gone(process: int) -> bool:
    """Whether a process has ended; what bears our number before we begin is of another."""
    if process == os.getpid():
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def put(part: Path, folder: Path) -> None:
    """Move a finished folder to its place, or what is in it into the empty one around it.

    Somebody may stand in that one. The list goes first: a file that then were missing is missed.
    """
    if part.parent != folder:
        part.rename(folder)
        return
    places = {path: folder / path.name for path in sorted(part.iterdir(), key=is_no_list)}
    try:
        for path, place in places.items():
            path.rename(place)
    except BaseException:
        for place in places.values():
            place.unlink(missing_ok=True)
        raise
    part.rmdir()


def is_no_list(path: Path) -> bool:
    """Whether a file is another than the list of checksums."""
    return path.name != SUMS
