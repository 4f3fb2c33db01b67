"""Sign up, sign in, sign out: the same answer, as slow, to whoever asks."""

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy.exc import IntegrityError

from services.alpine import accounts
from services.alpine.accounts import Lifetime, RefusedFlood, RefusedSignIn, User
from services.alpine.store import Database
from services.common.clock import Clock

WRONG = "the address or the password is wrong"


class Doors:
    """What changes who may come in."""

    def __init__(self, database: Database, clock: Clock, life: Lifetime) -> None:
        self.database, self.clock, self.life = database, clock, life
        self.on_end: Callable[[list[str]], None] = lambda names: None  # tokens that ended

    def sign_up(self, email: str, password: str, address: str, plan: str = "free") -> None:
        """Keep a user, unless the address is known. *Raises* `RefusedFlood`."""
        self.count([(accounts.key_of("signup", address), accounts.SIGNUPS)])
        kept = accounts.hashed(password)
        now = self.clock.wall()
        try:
            with self.database.transaction() as session:
                is_new = accounts.add_user(session, email, kept, plan, now)
                accounts.note(session, now, "signup" if is_new else "signup_known", None)
        except IntegrityError:
            return  # two at once: one of them was first

    def sign_in(self, email: str, password: str, address: str) -> tuple[User, str, datetime]:
        """A user, a token and its end. *Raises* `RefusedSignIn`, `RefusedFlood`."""
        account, place = accounts.key_of("account", email), accounts.key_of("address", address)
        self.count([(account, accounts.ACCOUNT), (place, accounts.ADDRESS)])
        with self.database.sessions() as session:
            user = accounts.belongs(session, email, password)
        now = self.clock.wall()
        with self.database.transaction() as session:
            if user is None:
                accounts.note(session, now, "signin_failed", None, account[:24])
            else:
                accounts.succeed(session, account, place)
                accounts.note(session, now, "signin", user.id)
                token, until = accounts.new_token(session, user.id, now, self.life)
        if user is None:
            raise RefusedSignIn(WRONG)
        return user, token, until

    def count(self, keys: list[tuple[str, accounts.Limit]]) -> None:
        """Count an attempt under every key. *Raises* `RefusedFlood`."""
        now = self.clock.wall()
        try:
            with self.database.transaction() as session:
                for key, limit in keys:
                    accounts.attempt(session, key, limit, now)
        except IntegrityError as error:  # the first two attempts ever, at once
            raise RefusedFlood(1.0) from error

    def sign_out(self, user: User, name: str) -> None:
        """End a token."""
        now = self.clock.wall()
        with self.database.transaction() as session:
            accounts.end_token(session, name)
            accounts.note(session, now, "signout", user.id)
        self.on_end([name])

    def change_password(self, user: User, old: str, new: str) -> None:
        """Another password; every token ends. *Raises* `RefusedSignIn`, `RefusedFlood`."""
        account = accounts.key_of("account", user.email)
        self.count([(account, accounts.ACCOUNT)])
        with self.database.sessions() as session:
            is_right = accounts.belongs(session, user.email, old) is not None
        kept = accounts.hashed(new)
        now, ended = self.clock.wall(), list[str]()
        with self.database.transaction() as session:
            accounts.note(session, now, "password" if is_right else "password_failed", user.id)
            if is_right:
                accounts.succeed(session, account, "")
                ended = accounts.set_password(session, user.id, kept)
        if not is_right:
            raise RefusedSignIn("the old password is wrong")
        self.on_end(ended)

    def enter(self, token: str) -> User:
        """Whose token this is. *Raises* `RefusedSignIn`."""
        name, now = accounts.digest_of(token), self.clock.wall()
        with self.database.sessions() as session:
            found = accounts.holder(session, name, now)
        if found is None:
            raise RefusedSignIn("sign in first: the token is unknown or has expired")
        user, used = found
        if now - used > min(accounts.TOUCH, self.life.idle / 10):
            with self.database.transaction() as session:
                accounts.touch(session, name, now, self.life)
        return user

    def keep(self, email: str, password: str | None, plan: str) -> bool:
        """A user as the operator wants him; whether he is new."""
        now = self.clock.wall()
        kept = None if password is None else accounts.hashed(password)
        with self.database.transaction() as session:
            user = accounts.find_user(session, email)
            if user is None:
                if kept is None:
                    raise RefusedSignIn(f"no user {email}: give a password")
                accounts.add_user(session, email, kept, plan, now)
            else:
                accounts.change(session, user.id, plan=plan)
                if kept is not None:
                    accounts.set_password(session, user.id, kept)
            words = f"by the operator, plan {plan}"
            accounts.note(session, now, "user", user.id if user else None, words)
        return user is None


def lifetime(hours: float, days: float) -> Lifetime:
    """From the settings."""
    return Lifetime(timedelta(hours=hours), timedelta(days=days))
