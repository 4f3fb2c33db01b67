"""The tables of a book: one SQLite file that holds everything Argo remembers."""

from sqlalchemy import Column, Date, Float, Integer, MetaData, String, Table, Text

from services.common.db import UtcDateTime

SCHEMA = 1  # PRAGMA user_version

tables = MetaData()

entries = Table(  # the journal: append-only, chained
    "entries",
    tables,
    Column("seq", Integer, primary_key=True),
    Column("kind", String, nullable=False, index=True),
    Column("at", UtcDateTime, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("body", Text, nullable=False),
    Column("previous", String, nullable=False),
    Column("id", String, nullable=False, unique=True),
)
readings = Table(  # append-only, named by content
    "readings",
    tables,
    Column("digest", String, primary_key=True),
    Column("source", String, nullable=False),
    Column("symbol", String, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("body", Text, nullable=False),
)
bars = Table(  # append-only: what was used once is never restated
    "bars",
    tables,
    Column("symbol", String, primary_key=True),
    Column("at", UtcDateTime, primary_key=True),
    *(Column(name, Float, nullable=False) for name in ("open", "high", "low", "close", "volume")),
    Column("seq", Integer, nullable=False),  # the entry that used it first
)
decisions = Table(  # what became of each symbol, whenever a bar was decided
    "decisions",
    tables,
    Column("seq", Integer, primary_key=True),
    Column("symbol", String, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("why", String, nullable=False),
    Column("body", Text, nullable=False),
)
signals = Table(
    "signals",
    tables,
    Column("id", String, primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("symbol", String, nullable=False),
    Column("body", Text, nullable=False),
)
intents = Table(  # orders we decided on, and where they are
    "intents",
    tables,
    Column("id", String, primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("symbol", String, nullable=False),
    Column("leg", String, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("state", String, nullable=False, index=True),
    Column("tries", Integer, nullable=False, default=0),
    Column("tried_at", UtcDateTime),
    Column("broker_id", String),
    Column("filled", Float, nullable=False, default=0.0),
    Column("average", Float, nullable=False, default=0.0),
    Column("note", Text, nullable=False, default=""),
    Column("told", Integer),  # the moment that was told of its end
    Column("body", Text, nullable=False),
)
legs = Table(  # the broker's own orders that guard a position
    "legs",
    tables,
    Column("broker_id", String, primary_key=True),
    Column("intent", String, nullable=False, index=True),
    Column("symbol", String, nullable=False),
    Column("leg", String, nullable=False),
    Column("quantity", Float, nullable=False),  # signed
    Column("price", Float, nullable=False),
    Column("state", String, nullable=False),
    Column("filled", Float, nullable=False, default=0.0),
    Column("average", Float, nullable=False, default=0.0),
)
fills = Table(
    "fills",
    tables,
    Column("n", Integer, primary_key=True),
    Column("broker_id", String, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("told", Integer),  # the moment that booked it
    Column("body", Text, nullable=False),
)
trades = Table(
    "trades",
    tables,
    Column("n", Integer, primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("closed", UtcDateTime, nullable=False),
    Column("pnl", Float, nullable=False),
    Column("body", Text, nullable=False),
)
equity = Table(
    "equity",
    tables,
    Column("seq", Integer, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("equity", Float, nullable=False),
    Column("cash", Float, nullable=False),
)
outbox = Table(  # what subscribers must hear, in order
    "outbox",
    tables,
    Column("n", Integer, primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("kind", String, nullable=False),
    Column("hash", String, nullable=False, unique=True),
    Column("body", Text, nullable=False),
    Column("sent_at", UtcDateTime),
)
meters = Table(
    "meters",
    tables,
    Column("source", String, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("calls", Integer, nullable=False),
    Column("usd", Float, nullable=False),
)
notes = Table(  # small facts that change: heartbeat, breakers, governor
    "notes",
    tables,
    Column("name", String, primary_key=True),
    Column("body", Text, nullable=False),
)

APPEND_ONLY = (entries, readings, bars, decisions, signals, trades, equity)
