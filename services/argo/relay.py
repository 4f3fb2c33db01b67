"""The outbox leaves in order, at least once, and waits as long as nobody is there to take it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Event, Thread
from typing import Any

import requests
import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from argo_alpine.domain import InvalidJournal, Unavailable
from argo_alpine.records import canonical
from services.argo.tables import entries, outbox
from services.common.clock import Clock
from services.common.db import Writer
from services.common.signing import signed

log = structlog.get_logger()

BATCH, LARGEST = 100, 900_000  # messages and bytes of one batch
PAUSE, LONGEST = 1.0, 60.0  # seconds between two looks, and after many failures


@dataclass(frozen=True, slots=True)
class RelayHealth:
    """How far the messages have come."""

    state: str = "waiting"  # waiting, ok, failing, stopped
    error: str = ""
    high: int = 0  # the last message taken on the other side
    behind: int = 0
    last_success: datetime | None = None


class Relay:
    """Carries the outbox to Alpine, from a thread of its own."""

    def __init__(
        self,
        writer: Writer,
        clock: Clock,
        url: str,
        keys: Sequence[str],  # the first one signs
        sandbox: bool,
        timeout: float = 5.0,
    ) -> None:
        self.writer, self.clock, self.url, self.keys = writer, clock, f"{url}/api/intake", keys
        self.sandbox, self.timeout = sandbox, timeout
        self.high: int | None = None  # not asked yet
        self.health = RelayHealth()
        self.ended = Event()
        self.thread = Thread(target=self.run, name="relay", daemon=True)
        self.session = requests.Session()
        self.session.trust_env = False

    def start(self) -> None:
        """Begin."""
        self.thread.start()

    def stop(self) -> None:
        """End."""
        self.ended.set()
        self.thread.join(self.timeout + 2)

    def run(self) -> None:
        """Carry until stopped; after a failure wait longer each time."""
        failures = 0
        while not self.ended.wait(min(PAUSE * 2**failures, LONGEST) if failures else PAUSE):
            try:
                while self.carry() and not self.ended.is_set():
                    pass
                failures = 0
            except Unavailable as error:
                failures += 1
                self.health = replace(self.health, state="failing", error=str(error))
                log.warning("relay_waits", error=str(error))
            except Exception as error:
                log.exception("relay_stopped")
                words = f"{type(error).__name__}: {error}"
                self.health = replace(self.health, state="stopped", error=words)
                return

    def carry(self) -> bool:  # whether there may be more
        """Send one batch. *Raises* `Unavailable`; `InvalidJournal` when the other side objects."""
        with self.writer.transaction() as session:
            epoch = session.execute(select(entries.c.id).where(entries.c.seq == 0)).scalar()
            messages = [] if self.high is None else waiting(session, self.high)
        if epoch is None or (self.high is not None and not messages):
            return False  # nothing was ever written, or all of it was taken
        body = {"epoch": epoch, "sandbox": self.sandbox, "messages": messages}
        taken = self.post({**body, "from": (self.high or 0) + 1})
        self.taken(taken)
        return len(messages) > 0 or self.health.behind > 0

    def post(self, body: dict[str, Any]) -> int:
        """The number of the last message taken."""
        text = canonical(body)
        name = f"{body['epoch'][:16]}-{body['from']}"
        headers = {"content-type": "application/json"}
        headers |= signed(self.keys, name, self.clock.wall(), text)
        try:
            reply = self.session.post(
                self.url, data=text.encode(), headers=headers, timeout=self.timeout
            )
            said = reply.json()
        except (requests.RequestException, ValueError) as error:
            raise Unavailable(f"Alpine does not answer at {self.url}") from error
        if reply.status_code == 200:
            return int(said["high"])
        if reply.status_code == 409 and "expected" in said:
            return int(said["expected"]) - 1
        if reply.status_code == 409:
            raise InvalidJournal(f"Alpine holds another message under number {said['conflict']}")
        raise Unavailable(f"Alpine refuses a batch: {reply.status_code} {said.get('detail', '')}")

    def taken(self, high: int) -> None:
        """Mark what was taken."""
        now = self.clock.wall()
        with self.writer.transaction() as session:
            free = update(outbox).where(outbox.c.n <= high, outbox.c.sent_at.is_(None))
            session.execute(free.values(sent_at=now))
            last = session.execute(select(outbox.c.n).order_by(outbox.c.n.desc()).limit(1)).scalar()
        if (last or 0) < high:
            raise InvalidJournal(f"Alpine has {high} messages of this book, which has {last or 0}")
        self.high = high
        self.health = RelayHealth("ok", "", high, (last or 0) - high, now)


def waiting(session: Session, high: int) -> Sequence[dict[str, object]]:
    """The next messages after a number, as many as one batch holds."""
    query = (
        select(outbox.c.n, outbox.c.seq, entries.c.id, outbox.c.kind, outbox.c.hash, outbox.c.body)
        .join(entries, entries.c.seq == outbox.c.seq)
        .where(outbox.c.n > high)
        .order_by(outbox.c.n)
        .limit(BATCH)
    )
    found: list[dict[str, object]] = []
    size = 0
    for n, seq, entry, kind, digest, body in session.execute(query):
        size += 2 * len(body)
        if found and size > LARGEST:
            break
        found.append(
            {"n": n, "seq": seq, "entry": entry, "kind": kind, "hash": digest, "body": body}
        )
    return found
