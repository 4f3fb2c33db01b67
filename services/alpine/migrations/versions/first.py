"""Everything that the first version keeps."""

import sqlalchemy as sa
from alembic import op

from services.common.db import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables; later changes of `tables.py` are revisions of their own."""
    people()
    delivered()
    worked()


def people() -> None:
    """Who subscribes."""
    op.create_table(
        "users",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("plan", sa.String(16), nullable=False),
        sa.Column("zone", sa.String(64), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("email", name="uq_users_email"),
    )
    op.create_table(
        "tokens",
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("user", SERIAL, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("used_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_tokens"),
        sa.ForeignKeyConstraint(
            ["user"], ["users.id"], name="fk_tokens_user_users", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_tokens_user", "tokens", ["user"])
    op.create_table(
        "attempts",
        sa.Column("key", sa.String(80), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("retry_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_attempts"),
    )
    op.create_table(
        "audit",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("user", sa.BigInteger(), nullable=True),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )


def delivered() -> None:
    """What Argo said."""
    op.create_table(
        "sources",
        sa.Column("epoch", sa.String(64), nullable=False),
        sa.Column("high", sa.BigInteger(), nullable=False),
        sa.Column("sandbox", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("epoch", name="pk_sources"),
    )
    op.create_table(
        "feed",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("epoch", sa.String(64), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("entry", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_feed"),
        sa.ForeignKeyConstraint(["epoch"], ["sources.epoch"], name="fk_feed_epoch_sources"),
        sa.UniqueConstraint("hash", name="uq_feed_hash"),
        sa.UniqueConstraint("epoch", "n", name="uq_feed_epoch"),
    )
    op.create_index("ix_feed_kind", "feed", ["kind"])
    op.create_table(
        "signals",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("feed", SERIAL, nullable=False),
        sa.Column("symbol", sa.String(8), nullable=False),
        sa.Column("direction", sa.String(8), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("sandbox", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_signals"),
        sa.ForeignKeyConstraint(["feed"], ["feed.id"], name="fk_signals_feed_feed"),
    )
    for name in ("feed", "symbol", "at"):
        op.create_index(f"ix_signals_{name}", "signals", [name])


def worked() -> None:
    """Backtests asked for."""
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("user", SERIAL, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("progress", sa.Float(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.ForeignKeyConstraint(
            ["user"], ["users.id"], name="fk_jobs_user_users", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_jobs_user", "jobs", ["user"])
