"""What Alpine keeps: who subscribes, and what Argo said, in the order in which it said it."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from services.common.db import UtcDateTime

NAMES = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
tables = MetaData(naming_convention=NAMES)
Serial = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts only INTEGER by itself

users = Table(
    "users",
    tables,
    Column("id", Serial, primary_key=True),
    Column("email", String(254), nullable=False, unique=True),  # lower case
    Column("password", Text, nullable=False),  # argon2id
    Column("plan", String(16), nullable=False),  # free, starter, pro, elite
    Column("zone", String(64), nullable=False, default="UTC"),  # IANA name, for what is shown
    Column("created_at", UtcDateTime, nullable=False),
)
tokens = Table(
    "tokens",
    tables,
    Column("hash", String(64), primary_key=True),  # SHA-256 of the token; itself kept nowhere
    Column("user", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)
attempts = Table(  # failed sign-ins, per account and per address; survives restarts
    "attempts",
    tables,
    Column("key", String(80), primary_key=True),  # a digest: no address in clear
    Column("failures", Integer, nullable=False),
    Column("retry_at", UtcDateTime, nullable=False),
)
audit = Table(
    "audit",
    tables,
    Column("id", Serial, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("user", BigInteger),
    Column("event", String(32), nullable=False),
    Column("note", Text, nullable=False, default=""),
)
sources = Table(  # the books Argo sends from, and how far each has come
    "sources",
    tables,
    Column("epoch", String(64), primary_key=True),  # id of the first entry of the book's journal
    Column("high", BigInteger, nullable=False),  # number of the last message taken
    Column("sandbox", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)
feed = Table(  # the delivery log: everything taken, numbered once more in order of arrival
    "feed",
    tables,
    Column("id", Serial, primary_key=True),
    Column("epoch", ForeignKey("sources.epoch"), nullable=False),
    Column("n", BigInteger, nullable=False),  # of Argo's outbox
    Column("seq", BigInteger, nullable=False),  # of Argo's journal
    Column("entry", String(64), nullable=False),  # id of that journal entry
    Column("kind", String(16), nullable=False, index=True),  # signal, fill, trade, equity
    Column("hash", String(64), nullable=False, unique=True),
    Column("body", Text, nullable=False),  # canonical JSON, as it came
    Column("received_at", UtcDateTime, nullable=False),
    UniqueConstraint("epoch", "n"),
)
signals = Table(
    "signals",
    tables,
    Column("id", String(64), primary_key=True),
    Column("feed", ForeignKey("feed.id"), nullable=False, index=True),
    Column("symbol", String(8), nullable=False, index=True),
    Column("direction", String(8), nullable=False),
    Column("confidence", Float, nullable=False),  # percent
    Column("at", UtcDateTime, nullable=False, index=True),  # market time
    Column("received_at", UtcDateTime, nullable=False),
    Column("sandbox", Boolean, nullable=False),
)
jobs = Table(  # backtests asked for
    "jobs",
    tables,
    Column("id", String(32), primary_key=True),
    Column("user", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("state", String(16), nullable=False),  # waiting, running, done, failed
    Column("progress", Float, nullable=False, default=0.0),  # 0..1
    Column("parameters", Text, nullable=False),
    Column("note", Text, nullable=False, default=""),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)
