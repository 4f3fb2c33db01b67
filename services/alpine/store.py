"""The database as a whole: opened, brought up to date, written by one at a time."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import RLock
from typing import Any

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Date

from services.alpine.migrations import upgrade
from services.common.db import sqlite

FILE = Path("data/recorded/alpine.sqlite")
ORDER = 0x666565  # the lock that makes numbers of the feed visible in their order


class Database:
    """PostgreSQL, or SQLite with one writer."""

    def __init__(self, url: str, file: Path = FILE) -> None:
        self.is_sqlite = not url
        if self.is_sqlite:
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # one machine, few writes: with a rollback journal the file is all there is to copy
            durable = ("PRAGMA journal_mode=DELETE", "PRAGMA synchronous=FULL")
            self.writes = sqlite(file, *durable)
            self.reads = sqlite(file, "PRAGMA query_only=1")
        else:
            self.writes = self.reads = postgresql(url)
        self.lock = RLock()
        self.sessions = sessionmaker(self.reads, expire_on_commit=False)
        upgrade(self.writes)
        if self.is_sqlite:
            file.chmod(0o600)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """All of it, or nothing."""
        with (
            self.lock if self.is_sqlite else nullcontext(),
            Session(self.writes, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    def close(self) -> None:
        """Let go of it."""
        self.writes.dispose()
        self.reads.dispose()


def postgresql(url: str) -> Engine:
    """An engine that gives up on a statement rather than wait for ever."""
    options = "-c statement_timeout=15000 -c lock_timeout=5000 -c timezone=UTC"
    return create_engine(
        url,
        connect_args={"connect_timeout": 5, "options": options},
        pool_size=10,
        max_overflow=10,
        pool_timeout=5,
        pool_pre_ping=True,  # a server that was restarted is not an error of the next caller
    )


def in_order(session: Session) -> None:
    """From here to the end of the transaction, nobody else appends to the feed."""
    # numbers are drawn before the commit: without it a reader could pass by a lower one
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ORDER})


class utc_day(FunctionElement[Any]):
    """The UTC date of a timestamp."""

    type = Date()
    inherit_cache = True


@compiles(utc_day, "sqlite")
def of_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    """There a timestamp is a text that begins with its date."""
    return f"substr({compiler.process(element.clauses, **kw)}, 1, 10)"


@compiles(utc_day, "postgresql")
def of_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    """There the zone of the session would decide."""
    return f"CAST(timezone('UTC', {compiler.process(element.clauses, **kw)}) AS DATE)"
