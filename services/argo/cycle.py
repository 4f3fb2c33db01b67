"""The live engine: see, decide, write down, and only then act."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from argo_alpine.domain import Bar, Consensus, Quote, Reading, Unavailable, UnavailableBroker
from argo_alpine.engine import Policy, decide, weighed
from argo_alpine.moments import Account, Decision, Moment, Portfolio
from argo_alpine.records import Entry, canonical, digest
from argo_alpine.sessions import session_at
from services.argo import store
from services.argo.board import Board
from services.argo.desk import Desk
from services.argo.guards import protect
from services.argo.journal import build, revived, verified
from services.argo.ports import BrokerAccount, BrokerOrder
from services.argo.tape import Split, Tape, is_late
from services.common.clock import Clock
from services.common.db import Writer

log = structlog.get_logger()

UNKNOWN = Account(float("nan"), 0.0, False)  # the broker has not said what we have
SETTLE = 2.0  # seconds between questions about orders in flight
COMPARE = 30.0  # seconds between comparisons of both books
SKEW = timedelta(seconds=2)  # more between two clocks, and nothing is entered


@dataclass(frozen=True, slots=True)
class Plan:
    """What the engine runs."""

    policy: Policy
    symbols: tuple[str, ...]
    sources: tuple[str, ...]  # switched on
    patience: float = 6.0  # seconds a new bar waits for the other sources
    book: str = "paper"
    sandbox: bool = False  # whether the world is a stand-in


@dataclass(frozen=True, slots=True)
class Status:
    """How the engine is doing, as of its last cycle."""

    state: str = "starting"  # starting, running, waiting, failed, stopped
    error: str = ""
    at: datetime | None = None  # market time
    cycled_at: datetime | None = None  # wall time
    cycles: int = 0
    cycle_ms: float = float("nan")  # of the last one, vendors' time included
    reconciled: bool = False
    frozen: Mapping[str, str] = field(default_factory=dict)
    account: BrokerAccount | None = None
    book: Portfolio | None = None
    opinions: Mapping[str, Consensus] = field(default_factory=dict)  # now, not decided upon
    head: Entry | None = None


class Engine:
    """One book, one thread."""

    def __init__(self, plan: Plan, clock: Clock, writer: Writer, board: Board, desk: Desk) -> None:
        self.plan, self.clock, self.writer, self.board, self.desk = plan, clock, writer, board, desk
        self.broker = desk.broker
        self.tape = Tape(plan.symbols, plan.policy.indicators)
        self.book: Portfolio | None = None
        self.at: datetime | None = None
        self.last = ""  # the last decision without its time
        self.fresh: list[Bar] = []  # folded, not yet decided upon or kept
        self.splits: list[Split] = []  # those that the journal has
        self.since: float | None = None  # monotonic: when the first of them came
        self.frozen: Mapping[str, str] = {}
        self.compared = self.settled = float("-inf")  # monotonic
        self.beaten = float("-inf")  # monotonic, when market time was last asked for
        self.reconciled = self.gapped = False
        self.status = Status()

    # Start-up is recovery

    def recover(self) -> None:
        """Read the journal, fold the kept bars, compare with the broker; then write `start`.

        *Raises* `InvalidJournal` and `UnavailableBroker`.
        """
        with self.writer.transaction() as session:
            store.create(session)
            verified(session)
            book = revived(session)
            kept = [bar for _, bar in store.read_bars(session)]
            self.splits = store.read_splits(session)
            head = store.last_entry(session)
        self.at = head.at if head else None
        known = [*self.splits, *self.tape.splits.values()]  # the latest may not be written yet
        self.tape = Tape(self.plan.symbols, self.plan.policy.indicators, known)
        self.tape.extend(kept)  # before anything a vendor says of the same days
        self.fresh = self.tape.extend(self.fresh)
        at = self.tick()
        if book is None:
            book = Portfolio(cash=self.broker.account().cash, positions={})
        self.desk.ledger.book = book
        self.compare(at)
        with self.writer.transaction() as session:
            body: dict[str, object] = {"book": self.plan.book, "symbols": self.plan.symbols}
            body |= {"build": build(), "policy": self.plan.policy, "portfolio": book}
            body |= {"sandbox": self.plan.sandbox}
            self.note_head(store.append(session, "start", at, self.clock.wall(), body))
        self.book = book
        log.info("recovered", version=self.plan.policy.version, frozen=dict(self.frozen))

    # The cycle

    def cycle(self) -> None:
        """One round: see, decide, write down, act. Every failure of the world is a state."""
        begun = self.clock.monotonic()
        try:
            if self.book is None:
                self.recover()
            error = self.round()
        except Unavailable as problem:
            error = str(problem)
            log.warning("cycle_waits", error=error)
        except OperationalError as problem:  # disk full, file locked: read again what got there
            error, self.book = f"the book cannot be written: {problem.orig}", None
            log.exception("cycle_waits")
        self.status = replace(
            self.status,
            state="waiting" if error else "running",
            error=error,
            cycled_at=self.clock.wall(),
            cycles=self.status.cycles + 1,
            cycle_ms=1000 * (self.clock.monotonic() - begun),
            reconciled=self.reconciled,
            frozen=self.frozen,
            book=self.book,
        )

    def round(self) -> str:
        """See, decide, write down, act; what went wrong on the broker's side, if anything."""
        quotes, readings = self.board.latest()
        self.listen_to_tape()
        at = self.tick()
        error = self.attend(at, is_due=self.clock.monotonic() - self.settled >= SETTLE)
        account = self.ask_account(at)
        decision = self.decide(at, account, quotes, readings)
        self.desk.dispatch(at, {*self.frozen} if self.reconciled else None)
        if decision is not None and decision.orders:
            error = self.attend(at, is_due=True) or error
        self.status = replace(
            self.status, at=at, account=account, opinions=self.opinions(at, readings)
        )
        return error

    def follow(self, news: Sequence[BrokerOrder]) -> None:
        """Between cycles: hear what the broker said, ask about what is in flight.

        *Raises* `Unavailable...` when there is no time or no broker.
        """
        if self.book is None:
            return
        at = self.tick()
        for order in news:
            self.desk.hear(order, at)
        self.attend(at, is_due=self.clock.monotonic() - self.settled >= SETTLE)

    def rest(self) -> None:
        """Say in the journal that we stopped on purpose."""
        if self.book is not None and self.at is not None:
            with self.writer.transaction() as session:
                self.note_head(store.append(session, "stop", self.at, self.clock.wall(), {}))
        self.status = replace(self.status, state="stopped")

    def tick(self) -> datetime:
        """Market time. *Raises* `UnavailableBroker` when it went back, or ahead by itself."""
        at, now = self.clock.market(), self.clock.monotonic()
        if self.at is not None and at < self.at:
            raise UnavailableBroker(
                f"market time is {at:%Y-%m-%d %H:%M:%S}, before this book's last entry of "
                f"{self.at:%Y-%m-%d %H:%M:%S}: go on where the market is, or begin another book"
            )
        passed = now - self.beaten + SKEW.total_seconds()
        if self.at is not None and (at - self.at).total_seconds() > passed:
            self.check_clock()  # a night in the sandbox, or a clock that was set wrong
        self.at, self.beaten = at, now
        return at

    def check_clock(self) -> None:
        """*Raises* `UnavailableBroker` when the broker's clock says something else than ours."""
        before, there, after = self.clock.market(), self.broker.clock(), self.clock.market()
        if not before - SKEW <= there <= after + SKEW:
            raise UnavailableBroker(f"the broker's clock says {there}, ours {after}")

    def decide(
        self,
        at: datetime,
        account: BrokerAccount | None,
        quotes: Sequence[Quote],
        readings: Sequence[Reading],
    ) -> Decision | None:
        """Decide; write it down if it is news, else only that we are alive."""
        assert self.book is not None
        self.keep_splits(at)
        self.keep_history(at)
        bars = self.ripe(readings)
        with self.writer.transaction() as session:
            fills, ended, returned = store.untold(session)
        moment = Moment(
            at,
            session_at(at),
            account_of(account) if self.reconciled else UNKNOWN,
            bars,
            self.heard(bars, readings),
            tuple(quote for quote in quotes if quote.at <= at),
            fills,
            ended,
            returned,
            tuple(sorted(self.frozen)),
        )
        decision = decide(moment, self.book, self.plan.policy)
        text = canonical(replace(decision, at=datetime.min.replace(tzinfo=at.tzinfo)))
        if text == self.last and not (bars or fills or ended or returned):
            self.beat(at)
            return None
        self.write(moment, decision, account)
        self.fresh = [bar for bar in self.fresh if bar not in bars]
        self.since = None if bars else self.since
        self.book, self.last = decision.portfolio, text
        self.desk.ledger.book = decision.portfolio
        return decision

    def beat(self, at: datetime) -> None:
        """Write down that we are alive, and nothing else happened."""
        with self.writer.transaction() as session:
            body = {"at": at, "recorded_at": self.clock.wall(), "cycles": self.status.cycles}
            store.keep_note(session, "heartbeat", body)

    # What was seen

    def listen_to_tape(self) -> None:
        """Fold the bars that came."""
        folded = self.tape.extend(self.board.take_bars())
        if folded and self.since is None:
            self.since = self.clock.monotonic()
        self.fresh += folded

    def keep_splits(self, at: datetime) -> None:
        """Write down the splits that bars have shown, before anything that follows from them."""
        for split in [s for s in self.tape.splits.values() if s not in self.splits]:
            with self.writer.transaction() as session:
                self.note_head(store.append(session, "split", at, self.clock.wall(), split))
            self.splits.append(split)
            log.warning("split", symbol=split.symbol, after=split.at, ratio=split.ratio)

    def keep_history(self, at: datetime) -> None:
        """Keep the bars that came too late to be decided upon."""
        old = [bar for bar in self.fresh if is_late(at, bar.at)]
        old.sort(key=lambda bar: (bar.at, bar.symbol))  # as they will be read
        if not old:
            return
        with self.writer.transaction() as session:
            body = {"bars": len(old), "first": old[0].at, "last": old[-1].at, "digest": digest(old)}
            entry = store.append(session, "bars", at, self.clock.wall(), body)
            store.keep_bars(session, entry.seq, old)
            self.note_head(entry)
        self.fresh = [bar for bar in self.fresh if bar not in old]
        self.since = self.clock.monotonic() if self.fresh else None

    def ripe(self, readings: Sequence[Reading]) -> tuple[Bar, ...]:
        """The bars to decide upon now: when every source has spoken, or had its time."""
        if not self.fresh or self.since is None:
            return ()
        waited = self.clock.monotonic() - self.since
        if waited < self.plan.patience and not self.is_complete(readings):
            return ()
        return tuple(sorted(self.fresh, key=lambda bar: bar.symbol))

    def is_complete(self, readings: Sequence[Reading]) -> bool:
        """Whether every symbol has its bar, and every source has spoken of it."""
        spoken = {
            (r.source, r.symbol): r.at if r.source == "alpha_vantage" else r.expires
            for r in readings
        }
        at = self.fresh[0].at
        return {bar.symbol for bar in self.fresh} == {*self.plan.symbols} and all(
            spoken.get((source, symbol), datetime.min.replace(tzinfo=at.tzinfo)) >= at
            for source in self.plan.sources
            for symbol in self.plan.symbols
            if source != "massive"
        )

    def heard(self, bars: Sequence[Bar], readings: Sequence[Reading]) -> tuple[Reading, ...]:
        """The readings a decision about these bars is made from."""
        symbols = {bar.symbol for bar in bars}
        own = [self.tape.reading(symbol) for symbol in sorted(symbols)]
        return (*(r for r in own if r), *(r for r in readings if r.symbol in symbols))

    def opinions(self, at: datetime, readings: Sequence[Reading]) -> Mapping[str, Consensus]:
        """What the sources would say of every symbol now; nothing is decided upon it."""
        own = [r for symbol in self.plan.symbols if (r := self.tape.reading(symbol))]
        every = (*own, *readings)
        return {s: weighed(s, every, at, self.plan.policy)[0] for s in self.plan.symbols}

    # What is written

    def write(self, moment: Moment, decision: Decision, account: BrokerAccount | None) -> None:
        """One transaction: what was seen, what was decided, what will be sent, who will hear."""
        wall = self.clock.wall()
        with self.writer.transaction() as session:
            names = store.keep_readings(session, moment.readings)
            body = {"moment": replace(moment, readings=()), "readings": names}
            entry = store.append(session, "moment", moment.at, wall, {**body, "decision": decision})
            store.keep_bars(session, entry.seq, moment.bars)
            store.keep_decision(session, entry, decision)
            for order in decision.orders:
                store.add_intent(session, entry.seq, order, wall)
            store.tell(session, entry.seq, (*moment.ended, *moment.returned))
            self.announce(session, entry, decision, account)
            self.note_head(entry)
        log_decision(decision, entry.seq)

    def announce(
        self, session: Session, entry: Entry, decision: Decision, account: BrokerAccount | None
    ) -> None:
        """Put what subscribers must hear into the outbox."""
        for signal in decision.signals:
            store.announce(session, entry, "signal", signal)
        for trade in decision.trades:
            store.announce(session, entry, "trade", trade)
        if account is not None:
            mark = {"at": entry.at, "equity": account.equity, "cash": account.cash}
            store.keep_equity(session, entry, account.equity, account.cash)
            store.announce(session, entry, "equity", mark)

    def note_head(self, entry: Entry) -> None:
        """Remember the last entry, for those who ask."""
        self.status = replace(self.status, head=entry)

    # The broker's side

    def ask_account(self, at: datetime) -> BrokerAccount | None:
        """What the broker says we have; None when it does not answer."""
        try:
            account = self.broker.account()
        except UnavailableBroker as error:
            log.warning("account_unknown", error=str(error))
            return None
        return account if math.isfinite(account.equity) else None

    def attend(self, at: datetime, is_due: bool) -> str:
        """Hear of orders in flight, compare the books when it is time; what went wrong."""
        try:
            is_old = self.clock.monotonic() - self.compared >= COMPARE
            if self.gapped or is_old or not self.reconciled:
                self.compare(at)
            elif is_due and self.desk.is_busy():
                self.settled = self.clock.monotonic()
                self.desk.settle(at)
            if self.reconciled:
                protect(self.desk, at, self.frozen)
        except UnavailableBroker as error:
            log.warning("broker_unknown", error=str(error))
            return str(error)
        return ""

    def compare(self, at: datetime) -> None:
        """Compare both books and both clocks; until that has worked, nothing is entered.

        *Raises* `UnavailableBroker`.
        """
        self.reconciled = self.gapped = False  # a gap that comes meanwhile is seen the next time
        self.check_clock()
        frozen = self.desk.compare(at)
        if frozen != self.frozen:
            with self.writer.transaction() as session:
                entry = store.append(session, "frozen", at, self.clock.wall(), frozen)
                self.note_head(entry)
            log.warning("frozen", symbols=dict(frozen))
        self.frozen, self.reconciled = frozen, True
        self.compared = self.settled = self.clock.monotonic()

    def gap(self) -> None:
        """The stream of changes was interrupted: compare before anything else."""
        self.gapped = True


def account_of(account: BrokerAccount | None) -> Account:
    """What the decision may know of the account."""
    if account is None:
        return UNKNOWN
    return Account(account.equity, account.buying_power, account.active)


def log_decision(decision: Decision, seq: int) -> None:
    """One line a symbol, with the id that follows an order through its life."""
    ids = {signal.symbol: signal.id for signal in decision.signals}
    ids |= {order.symbol: order.signal.id for order in decision.orders}
    for symbol, why in decision.why.items():
        log.info("decided", seq=seq, symbol=symbol, why=why, signal=ids.get(symbol, ""))
