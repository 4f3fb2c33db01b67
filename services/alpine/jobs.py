"""Backtests that subscribers ask for: few at a time, each in a process of its own."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from argo_alpine.domain import Refused
from argo_alpine.samples import symbols_there
from services.alpine.store import Database
from services.alpine.tables import jobs
from services.common import logs
from services.common.clock import Clock

log = logs.logger("jobs")

FOLDER = Path("data/jobs")
WAITING = 3  # of one user, beside the one that runs
KEPT = 20  # of one user
POLL = 2.0  # seconds; another instance may have been asked
LONGEST = 900.0  # seconds


class RefusedJob(Refused):
    """More than one user may ask for."""


class Backtest(BaseModel):
    """The knobs of the command `argo-alpine backtest`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    symbols: Annotated[tuple[str, ...], Field(min_length=1, max_length=8)]
    first: date = date(2005, 3, 1)
    last: date = date(2013, 3, 1)
    cash: Annotated[float, Field(ge=1_000, le=1e9, allow_inf_nan=False)] = 100_000.0
    threshold: Annotated[float, Field(gt=50, lt=100, multiple_of=0.01)] = 75.0
    drawdown_pct: Annotated[float, Field(ge=1, le=100)] = 10.0
    rearm_after: Annotated[int, Field(ge=0, le=3650)] = 0
    slippage_bps: Annotated[float, Field(ge=0, le=1000)] = 5.0
    spread_bps: Annotated[float, Field(ge=0, le=1000)] = 2.0
    fee_per_share: Annotated[float, Field(ge=0, le=10)] = 0.0

    @field_validator("symbols")
    @classmethod
    def are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Of the samples, none twice."""
        known = symbols_there()
        if len({*value}) < len(value) or not {*value} <= {*known}:
            raise ValueError(f"must be distinct and of {', '.join(known)}")
        return value

    @model_validator(mode="after")
    def is_a_period(self) -> "Backtest":
        """From the first day to a later one."""
        if not date(2000, 1, 1) <= self.first < self.last <= date(2030, 1, 1):
            raise ValueError("first must lie before last, both within 2000 and 2030")
        return self

    def parameters(self) -> dict[str, object]:
        """As the template takes them."""
        said = self.model_dump(mode="json")
        return said | {"symbols": ",".join(self.symbols)}


@dataclass(frozen=True, slots=True)
class JobView:
    """How far a backtest has come."""

    id: str
    state: str  # waiting, running, done, failed
    progress: float  # 0..1
    note: str
    parameters: Mapping[str, Any]
    summary: Mapping[str, Any] | None
    report_url: str | None
    created_at: datetime
    updated_at: datetime


def view(row: Any, folder: Path) -> JobView:
    """A row as a value."""
    made = folder / row.id / "metrics.json"
    is_done = row.state == "done" and made.is_file()
    return JobView(
        row.id, row.state, row.progress, row.note, json.loads(row.parameters),
        json.loads(made.read_text()) if is_done else None,
        f"/api/backtests/{row.id}/report" if is_done else None,
        row.created_at, row.updated_at,
    )  # fmt: skip


def ask(session: Session, user: int, wanted: Backtest, now: datetime) -> str:
    """Put a job into the queue; its id. *Raises* `RefusedJob`."""
    waits = (jobs.c.user == user) & (jobs.c.state == "waiting")
    count = session.execute(select(func.count()).select_from(jobs).where(waits)).scalar_one()
    if count >= WAITING:
        raise RefusedJob(f"{count} backtests are waiting already: wait until one is done")
    name = secrets.token_hex(16)
    row = {
        "id": name,
        "user": user,
        "state": "waiting",
        "progress": 0.0,
        "parameters": json.dumps(wanted.parameters()),
        "note": "",
        "created_at": now,
        "updated_at": now,
    }
    session.execute(insert(jobs).values(row))
    return name


def mine(session: Session, user: int, folder: Path) -> tuple[JobView, ...]:
    """The jobs of one user, newest first."""
    query = select(jobs).where(jobs.c.user == user).order_by(jobs.c.created_at.desc(), jobs.c.id)
    return tuple(view(row, folder) for row in session.execute(query.limit(KEPT)))


def find(session: Session, user: int, name: str, folder: Path) -> JobView | None:
    """A job, if it is his."""
    query = select(jobs).where(jobs.c.id == name, jobs.c.user == user)
    row = session.execute(query).first()
    return None if row is None else view(row, folder)


class Worker:
    """Takes one job after another."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        folder: Path = FOLDER,
        command: Sequence[str] = (sys.executable, "-m", "services.alpine.worker"),
    ) -> None:
        self.database, self.clock, self.folder = database, clock, folder
        self.command = tuple(command)
        self.wanted, self.stopping = Event(), Event()
        self.child: subprocess.Popen[str] | None = None
        self.thread = Thread(target=self.run, name="jobs", daemon=True)

    def start(self) -> None:
        """Begin; what was running when the process ended begins anew."""
        with self.database.transaction() as session:
            session.execute(
                update(jobs).where(jobs.c.state == "running").values(state="waiting", progress=0.0)
            )
        self.thread.start()

    def stop(self) -> None:
        """Stop the job in hand; it begins anew at the next start."""
        self.stopping.set()
        self.wanted.set()
        if (child := self.child) is not None:
            child.terminate()
        if self.thread.ident is not None:
            self.thread.join(10)

    def run(self) -> None:
        """Until told to stop."""
        while not self.stopping.is_set():
            self.wanted.clear()
            try:
                is_done = self.turn()
            except Exception as error:  # one job must not end all the others
                log.error("job_lost", exc_info=error)
                is_done = False
            if not is_done:
                self.wanted.wait(POLL)

    def turn(self) -> bool:
        """Do one job; whether there was one."""
        row = self.claim()
        if row is None:
            return False
        try:
            state, words = self.work(row)
        except (OSError, LookupError, TypeError, ValueError) as error:
            log.error("job_failed", job=row.id, exc_info=error)
            state, words = "failed", "its process could not be run, or spoke in riddles"
        if self.stopping.is_set():
            return True
        self.note(row.id, state=state, note=words, **({"progress": 1.0} if state == "done" else {}))
        return True

    def claim(self) -> Any:
        """The job that waits longest, of somebody none of whose jobs runs."""
        busy = select(jobs.c.user).where(jobs.c.state == "running")
        query = select(jobs).where(jobs.c.state == "waiting", jobs.c.user.not_in(busy))
        query = query.order_by(jobs.c.created_at, jobs.c.id).limit(1)
        with self.database.transaction() as session:
            row = session.execute(query.with_for_update(skip_locked=True)).first()
            if row is not None:
                mark = {"state": "running", "updated_at": self.clock.wall()}
                session.execute(update(jobs).where(jobs.c.id == row.id).values(mark))
        return row

    def note(self, name: str, **values: Any) -> None:
        """Write down how far it has come."""
        with self.database.transaction() as session:
            values |= {"updated_at": self.clock.wall()}
            session.execute(update(jobs).where(jobs.c.id == name).values(values))

    def work(self, row: Any) -> tuple[str, str]:
        """Run the process of a job, and write down what it says; how it ended."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        out = self.folder / row.id
        said = json.dumps({"parameters": json.loads(row.parameters), "out": str(out.absolute())})
        # it needs no key, so it gets none
        env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.child = child = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            text=True,
        )
        watch = Thread(target=self.limit, args=(child,), daemon=True)
        watch.start()
        with child:
            assert child.stdin is not None and child.stdout is not None
            child.stdin.write(said)
            child.stdin.close()
            last = {"state": "failed", "note": "it stopped without a word"}
            for line in child.stdout:
                last = json.loads(line)
                if last["state"] == "running" and not self.stopping.is_set():
                    self.note(row.id, progress=last["progress"], note=last["note"][:200])
        watch.join()
        self.child = None
        if last["state"] == "running":
            last = {"state": "failed", "note": "it was stopped before its end"}
        return last["state"], last["note"][:500]

    def limit(self, child: subprocess.Popen[str]) -> None:
        """End a process that takes too long."""
        try:
            child.wait(LONGEST)
        except subprocess.TimeoutExpired:
            child.kill()
