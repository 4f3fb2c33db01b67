"""Who may come in: users, their passwords, their tokens, and how often somebody has tried."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from argo_alpine.domain import Refused
from services.alpine.tables import attempts, audit, tokens, users

HASHER = Argon2Hasher(memory_cost=19 * 1024, time_cost=2, parallelism=1)
NOBODY = HASHER.hash(secrets.token_urlsafe(16))  # what an unknown address is compared with
TOUCH = timedelta(minutes=5)  # a token in use is not written down each time
FORGET = timedelta(hours=1)  # without a failure


class RefusedSignIn(Refused):
    """An address and a password that do not belong together, or a token that opens nothing."""


class RefusedFlood(Refused):
    """Too many attempts."""

    def __init__(self, seconds: float) -> None:
        super().__init__("too many attempts: try again later")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class User:
    """A subscriber."""

    id: int
    email: str
    plan: str
    zone: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long a token opens the door."""

    idle: timedelta
    absolute: timedelta


@dataclass(frozen=True, slots=True)
class Limit:
    """How many attempts are free, and how long the next ones wait."""

    free: int
    longest: float  # seconds

    def delay(self, failures: int) -> timedelta:
        """After so many failures."""
        over = failures - self.free
        return timedelta(seconds=min(2.0 ** min(over, 30), self.longest) if over >= 0 else 0)


ACCOUNT, ADDRESS = Limit(5, 60.0), Limit(50, 60.0)  # short: nobody locks out a victim
SIGNUPS = Limit(30, 900.0)  # of one address


# -- users -----------------------------------------------------------------------------------------


def user_of(row: object) -> User:
    """A row as a value."""
    return User(*(getattr(row, name) for name in ("id", "email", "plan", "zone", "created_at")))


def find_user(session: Session, email: str) -> User | None:
    """The user of an address."""
    row = session.execute(select(users).where(users.c.email == email)).first()
    return None if row is None else user_of(row)


def add_user(session: Session, email: str, hashed: str, plan: str, now: datetime) -> bool:
    """Keep a user; whether the address was new."""
    if find_user(session, email) is not None:
        return False
    row = {"email": email, "password": hashed, "plan": plan, "zone": "UTC", "created_at": now}
    session.execute(insert(users).values(row))
    return True


def hashed(password: str) -> str:
    """A password as it is kept; slow on purpose."""
    return HASHER.hash(password)


def belongs(session: Session, email: str, password: str) -> User | None:
    """The user if the password is his; as slow where there is no such user."""
    row = session.execute(select(users).where(users.c.email == email)).first()
    try:
        is_right = HASHER.verify(password, row.password if row else NOBODY)
    except UnknownHashError:
        is_right = False
    return user_of(row) if row is not None and is_right else None


def set_password(session: Session, user: int, kept: str) -> list[str]:
    """Another password; the tokens that end with the one before."""
    session.execute(update(users).where(users.c.id == user).values(password=kept))
    mine = tokens.c.user == user
    ended = list(session.execute(select(tokens.c.hash).where(mine)).scalars())
    session.execute(delete(tokens).where(mine))
    return ended


def change(session: Session, user: int, **values: str) -> None:
    """Set a plan or a zone."""
    session.execute(update(users).where(users.c.id == user).values(values))


# -- tokens ----------------------------------------------------------------------------------------


def digest_of(token: str) -> str:
    """What is kept of a token."""
    return sha256(token.encode("utf-8", "replace")).hexdigest()


def new_token(session: Session, user: int, now: datetime, life: Lifetime) -> tuple[str, datetime]:
    """A token that opens the door, and until when."""
    token, until = secrets.token_urlsafe(32), now + min(life.idle, life.absolute)
    row = {"user": user, "created_at": now, "used_at": now, "expires_at": until}
    session.execute(delete(tokens).where(tokens.c.expires_at <= now))
    session.execute(insert(tokens).values(row | {"hash": digest_of(token)}))
    return token, until


def holder(session: Session, name: str, now: datetime) -> tuple[User, datetime] | None:
    """Whose token this digest is of, and when it was last used; None when it opens nothing."""
    query = select(users, tokens.c.used_at).join(tokens, tokens.c.user == users.c.id)
    row = session.execute(query.where(tokens.c.hash == name, tokens.c.expires_at > now)).first()
    return None if row is None else (user_of(row), row.used_at)


def touch(session: Session, name: str, now: datetime, life: Lifetime) -> None:
    """A token was used: its idle time begins anew, its end stays."""
    born = session.execute(select(tokens.c.created_at).where(tokens.c.hash == name)).scalar()
    if born is not None:
        until = min(now + life.idle, born + life.absolute)
        values = {"used_at": now, "expires_at": until}
        session.execute(update(tokens).where(tokens.c.hash == name).values(values))


def end_token(session: Session, name: str) -> None:
    """It opens nothing any more."""
    session.execute(delete(tokens).where(tokens.c.hash == name))


# -- attempts --------------------------------------------------------------------------------------


def key_of(kind: str, name: str) -> str:
    """An account or an address as a row's name; neither is in it."""
    return f"{kind}:{sha256(name.encode()).hexdigest()}"


def attempt(session: Session, key: str, limit: Limit, now: datetime) -> None:
    """Count an attempt before it is made, so that many at once are many.

    *Raises* `RefusedFlood` when it comes too early; it does not count then.
    """
    session.execute(delete(attempts).where(attempts.c.retry_at < now - FORGET))
    row = session.execute(select(attempts).where(attempts.c.key == key).with_for_update()).first()
    if row is not None and row.retry_at > now:
        raise RefusedFlood((row.retry_at - now).total_seconds())
    failures = 1 if row is None else row.failures + 1
    values = {"failures": failures, "retry_at": now + limit.delay(failures)}
    if row is None:
        session.execute(insert(attempts).values(values | {"key": key}))
    else:
        session.execute(update(attempts).where(attempts.c.key == key).values(values))


def succeed(session: Session, account: str, address: str) -> None:
    """It was no failure after all."""
    session.execute(delete(attempts).where(attempts.c.key == account))
    fewer = {"failures": attempts.c.failures - 1}
    session.execute(
        update(attempts).where(attempts.c.key == address, attempts.c.failures > 0).values(fewer)
    )


def note(session: Session, at: datetime, event: str, user: int | None, words: str = "") -> None:
    """A row of the audit; never a password, a token or an address."""
    row = {"at": at, "user": user, "event": event, "note": words}
    session.execute(insert(audit).values(row))
