"""What was written down: the journal replayed, the logs read."""

import os
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.commands.screen import Json, local, near, printable, progress, say, tell

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from services.argo.export import Heard
    from services.argo.journal import Replay

BOOKS = Path("data/recorded")
LOGS = Path("data/logs")


def replay(
    book: Annotated[
        str | None, typer.Argument(help="A book's name or file; else the newest.")
    ] = None,
    json: Json = False,
) -> None:
    """Decide everything again from what was recorded, and compare.

    Besides decisions it compares what is kept for them: bars and readings, signals, trades and
    equity, orders as they were decided, fills and the moment that was told of each, and messages to
    subscribers. It does not compare what the journal does not hold: guards at the broker, how far
    an order came, what cash there was, whether a message was sent, and what sources cost.

    Nothing is written. Exit code 0: every decision is identical. Exit code 1: they part, and
    the entry and the field are named.

    \b
    Examples:
      argo-alpine replay
      argo-alpine replay sandbox
      argo-alpine replay data/recorded/paper.sqlite --json
    """
    path = found(book)
    result = replay_of(path)
    parted = result.divergence
    if json:
        divergence = parted and {
            "seq": parted.seq,
            "field": parted.field,
            "recorded": parted.recorded,
            "replayed": parted.replayed,
        }
        counts = {"decisions": result.decisions, "entries": result.entries}
        say({"book": str(path), "identical": parted is None, **counts, "divergence": divergence})
    elif parted is None:
        print(f"{near(path)}: {result.decisions:,} decisions identical, {result.entries:,} entries")
    else:
        tell(f"{near(path)}: {printable(str(parted))}")
    if parted is not None:
        raise typer.Exit(1)


def found(book: str | None) -> Path:
    """The file of a book. *Raises* `UnavailableData`."""
    from argo_alpine.domain import UnavailableData

    for path in (Path(book), BOOKS / f"{book}.sqlite") if book is not None else ():
        if path.is_file():
            return path
    kept = books()
    if book is None and not kept:
        raise UnavailableData(
            f"no book in {BOOKS}: run `argo-alpine argo --sandbox` first, or name a file"
        )
    if book is None:
        return kept[-1]
    names = ", ".join(path.stem for path in kept) or "none"
    raise UnavailableData(f"no book {book}: there are {names} in {BOOKS}, or name a file")


def books() -> list[Path]:
    """The books there are, the newest last; Alpine keeps a database of its own beside them."""
    return sorted(filter(is_book, BOOKS.glob("*.sqlite")), key=written_at)


def is_book(path: Path) -> bool:
    """Whether a file holds a journal; one that cannot be read may, and whoever reads it is told."""
    from sqlalchemy import inspect

    from argo_alpine.domain import UnavailableData
    from services.argo.tables import entries

    try:
        with opened(path) as session:
            return inspect(session.connection()).has_table(entries.name)
    except UnavailableData:
        return path.is_file()


def written_at(path: Path) -> float:
    """When a book was written to; what is new stands in a file beside it at first."""
    from services.common.db import log_of

    return max(file.stat().st_mtime for file in (path, log_of(path)) if file is not None)


@contextmanager
def opened(path: Path) -> "Iterator[Session]":
    """A book to read. *Raises* `UnavailableData` for what is no book, or cannot be opened."""
    from sqlalchemy.exc import DatabaseError

    from argo_alpine.domain import UnavailableData
    from services.common.db import reader

    sessions = reader(path)
    try:
        with sessions() as session:
            yield session
    except DatabaseError as error:
        raise UnavailableData(f"{path} {unreadable(error.orig)}") from error
    finally:
        sessions.kw["bind"].dispose()


def unreadable(error: BaseException | None) -> str:
    """What is wrong with a book of which SQLite says this, and what to do."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says more than anybody needs
    if code in (sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
        return (
            f"cannot be opened ({error}): see who may read it; where nothing can be written, "
            "copy it with the -wal beside it to where you can write"
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"cannot be read now ({error}): try again"
    return f"is not a book, or damaged ({error}): name another, or restore a backup"


def replay_of(path: Path) -> "Replay":
    """Replay a book without writing to it. *Raises* `UnavailableData` for what is no book."""
    from services.argo import store, tables

    with opened(path) as session:
        total = store.count(session, tables.entries)
        with progress("Replaying", total) as tick:
            return faithful(session, total, tick)


def faithful(session: "Session", total: int, tick: Callable[[int], None]) -> "Replay":
    """A replay; what cannot be read at all, of an entry or after the last, is a divergence too."""
    from argo_alpine.domain import Invalid
    from services.argo.journal import Divergence, Replay, replayed

    found = Replay(0, 0)

    def count(so_far: Replay) -> None:
        nonlocal found
        found = so_far
        tick(found.entries)

    try:
        return replayed(session, count)
    except (Invalid, LookupError, TypeError, ValueError) as error:
        why = f"cannot be read: {error}"[:200]
        # entries are numbered from 0, so the one at fault bears the count of those before it
        entry = Divergence(found.entries, "body", "an entry of the journal", why)
        after = Divergence(total - 1, "afterwards", "what names entries", why)
        return replace(found, divergence=entry if found.entries < total else after)


def export(
    into: Annotated[str, typer.Option(metavar="FOLDER", help="A new or empty folder.")],
    book: Annotated[
        str | None, typer.Argument(help="A book's name or file; else the newest.")
    ] = None,
    json: Json = False,
) -> None:
    """Write what a book has heard as a folder of bars, to try other policies on it.

    Bars as they were first heard, splits, and what X and Sonar said in each decision about a
    close, dated at that close and for it alone. Alpha Vantage and Massive are computed from the
    bars again: where the first had not spoken in time, a backtest can decide otherwise. A book
    that is damaged is refused.

    \b
    Examples:
      argo-alpine export --into heard
      argo-alpine export paper --into heard --json
      argo-alpine backtest --data heard --set consensus.threshold=70
    """
    path, folder = found(book), empty_folder(into)
    told = heard_in(path)
    write_down(told, folder)
    counts = {
        "symbols": len(told.bars),
        "bars": sum(map(len, told.bars.values())),
        "readings": len(told.readings),
        "splits": len(told.splits),
    }
    if told.is_sandbox is not False:
        tell(MADE_UP if told.is_sandbox else PERHAPS_MADE_UP)
    if json:
        live = {"decided": told.decided, "apart": told.apart, "first": str(told.first or "")}
        about = {"book": str(path), "folder": near(folder), "sandbox": told.is_sandbox}
        return say({**about, **counts, **live, "left": told.unreadable})
    print(f"{near(folder)}: " + ", ".join(f"{n:,} {name}" for name, n in counts.items()))
    print("\n".join(notes_on(told)))


MADE_UP = "From the sandbox: X and Sonar are stand-ins there, and what they say is made up."
PERHAPS_MADE_UP = (
    "An older book: it does not say whether it is from the sandbox, where X is made up."
)


def notes_on(told: "Heard") -> Iterator[str]:
    """What to know before a backtest of it is believed."""
    if told.first is None:
        yield "Nothing was decided live yet."
        return
    yield f"{told.decided:,} closes were decided live; the first with --from {told.first}."
    if told.apart:
        yield (
            f"At {told.apart:,} of them Alpha Vantage had not spoken of that close in time. A "
            "backtest computes what it would have said, and can decide otherwise there."
        )
    if told.unreadable:
        yield f"{told.unreadable:,} readings were left out: no vote can be made of them."


def heard_in(path: Path) -> "Heard":
    """What a book has heard. *Raises* `InvalidJournal`, `UnavailableData`."""
    from argo_alpine.domain import Invalid, InvalidJournal
    from services.argo.export import heard

    try:
        with opened(path) as session:
            return heard(session)
    except (LookupError, TypeError, ValueError) as error:
        if isinstance(error, Invalid):
            raise
        why = f"{path} cannot be read ({error}): `argo-alpine replay` says where"
        raise InvalidJournal(why) from None


def empty_folder(into: str) -> Path:
    """Where a new or empty folder is. *Raises* `UnavailableData` for one that holds others."""
    from argo_alpine.domain import UnavailableData
    from argo_alpine.samples import place_of
    from services.argo.export import leftovers

    if not into:
        raise typer.BadParameter("--into names no folder: write . for the one you are in")
    folder = Path(os.path.realpath(place_of(into)))
    if folder.exists() and not folder.is_dir():
        raise UnavailableData(f"{into} is no folder: name a new one")
    others = {*folder.iterdir()} - {*leftovers(folder)} if folder.is_dir() else ()
    if others:
        raise UnavailableData(f"{into} is not empty{hidden(others)}: name a new folder")
    return folder


def hidden(paths: Collection[Path]) -> str:
    """What a folder holds that looks empty; nothing where anything can be seen."""
    names = sorted(path.name for path in paths)
    if not all(name.startswith(".") for name in names):
        return ""
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return f" (hidden in it: {', '.join(names[:3])}{more})"


def write_down(told: "Heard", folder: Path) -> None:
    """Write a folder of bars. *Raises* `UnavailableData` for an empty book, or no room."""
    from argo_alpine.domain import UnavailableData
    from services.argo.export import write

    if not told.bars:
        raise UnavailableData("this book has heard no bar yet: let Argo run past a close")
    try:
        write(told, folder)
    except OSError as error:
        raise UnavailableData(f"{folder} cannot be written: {error.strerror}") from None


def logs(
    lines: Annotated[int, typer.Option(min=1, max=100_000, help="The last so many.")] = 50,
    level: Annotated[str | None, typer.Option(help="This one and worse: warning.")] = None,
    signal: Annotated[str | None, typer.Option(help="The beginning of a signal's id.")] = None,
    text: Annotated[str | None, typer.Option(help="Anywhere in the line.")] = None,
    folder: Annotated[Path, typer.Option(help="Where they are.")] = LOGS,
    json: Json = False,
) -> None:
    """What happened, of every service, oldest first.

    \b
    Examples:
      argo-alpine logs
      argo-alpine logs --level warning --lines 20
      argo-alpine logs --signal ec7ef09ccf77
    """
    from services.common.logs import LEVELS, read

    if level is not None and level.lower() not in LEVELS:
        raise typer.BadParameter(f"{level} is no level: write one of {', '.join(LEVELS)}")
    kept = read(folder, lines=lines, level=level, text=text, signal=signal)
    if json:
        return say(kept)
    for entry in kept:
        print(printable(line_of(entry)))
    if not kept:
        tell("No line is like that.")


def line_of(entry: dict[str, Any]) -> str:
    """A line for people, on the reader's clock."""
    names = ("recorded_at", "level", "service", "logger", "event")
    at, level, service, _, event = (str(entry.get(name, "")) for name in names)
    rest = " ".join(f"{key}={value}" for key, value in entry.items() if key not in names)
    return f"{local(at or None)} {level:<8} {service} {event} {rest}".rstrip()
