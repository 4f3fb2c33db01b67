"""How a database is opened here, and the one type of time that goes into it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from sqlite3 import Connection
from threading import RLock
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, Request
from sqlalchemy import URL, DateTime, Dialect, Engine, create_engine, event
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """A timestamp that is UTC on the way in and on the way out, SQLite included."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive timestamp."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"timestamp must carry a time zone, was {value}")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Give back the time zone that SQLite forgets."""
        if value is None:
            return None
        at: datetime = value
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


class Writer:
    """The one connection that writes to a SQLite file; every transaction reaches the disk."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.lock = RLock()
        self.engine = sqlite(path, "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL")
        self.sessions = sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """All of it, or nothing; one at a time."""
        with self.lock, self.sessions.begin() as session:
            yield session

    def close(self) -> None:
        """Let go of the file."""
        self.engine.dispose()


def reader(path: Path) -> sessionmaker[Session]:
    """Sessions that read a SQLite file that somebody else may be writing."""
    place = frozen(path) if is_frozen(path) else path
    # SQLite before 3.51 can damage a file when two connections checkpoint: only the writer does
    return sessionmaker(sqlite(place, "PRAGMA query_only=1", "PRAGMA wal_autocheckpoint=0"))


def is_frozen(path: Path) -> bool:
    """Whether a file is whole, and where nothing can be put beside it, as SQLite does to read."""
    real = path.resolve()
    return real.is_file() and not os.access(real.parent, os.W_OK) and log_of(real) is None


def frozen(path: Path) -> URL:
    """How SQLite is told to read a file as it is, without any other beside it."""
    asked = {"mode": "ro", "immutable": "1", "uri": "true"}
    return URL.create("sqlite", database=f"file:{quote(str(path.resolve()))}", query=asked)


def log_of(path: Path) -> Path | None:
    """The file of what was written to a SQLite file and does not stand in it yet, if anything."""
    log = path.with_name(path.name + "-wal")
    try:
        return log if log.stat().st_size else None
    except FileNotFoundError:
        return None


def sqlite(place: Path | URL, *pragmas: str) -> Engine:
    """An engine whose transactions take the lock when they begin, not when they first write."""
    url = place if isinstance(place, URL) else f"sqlite:///{place}"
    engine = create_engine(url, connect_args={"timeout": 5.0})

    @event.listens_for(engine, "connect")
    def prepare(connection: Connection, _: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        for pragma in (*pragmas, "PRAGMA foreign_keys=ON"):
            connection.execute(pragma).close()

    writes = not any("query_only" in pragma for pragma in pragmas)

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def session(request: Request) -> Iterator[Session]:
    """A session for one request."""
    with request.app.state.sessions() as opened:
        yield opened


Db = Annotated[Session, Depends(session)]
