"""Die anywhere, start again: no order twice, none lost, and both books equal."""

import os
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import text

from argo_alpine.domain import RefusedOrder, UnavailableBroker, UnknownOutcome
from argo_alpine.orders import order_id
from services.argo.desk import Desk
from services.argo.journal import replayed
from tests.argo_stage import FakeBroker, staged

SEED = 20_050_301
DEATHS = int(os.environ.get("SOAK_DEATHS", "200"))


class Killed(BaseException):
    """The process is gone; nothing may catch this."""


class Dice:
    """Says, step by step, whether the process dies here."""

    def __init__(self, seed: int, share: float) -> None:
        self.random, self.share, self.kills = np.random.default_rng(seed), share, 0
        self.armed = True

    def roll(self) -> None:
        if self.armed and self.random.random() < self.share:
            self.kills += 1
            raise Killed


def arm(stage, dice: Dice) -> None:
    """Let the process die before and after every transaction and every order."""
    begin, submit = stage.writer.transaction, FakeBroker.submit

    class Mortal:
        def __init__(self) -> None:
            dice.roll()
            self.inner = begin()

        def __enter__(self):
            return self.inner.__enter__()

        def __exit__(self, *error):
            result = self.inner.__exit__(*error)
            if error[0] is None:
                dice.roll()
            return result

    def mortal_submit(order):
        dice.roll()
        placed = submit(stage.broker, order)
        dice.roll()
        return placed

    stage.writer.transaction = Mortal
    stage.broker.submit = mortal_submit


def live(stage, dice: Dice, deaths: int) -> None:
    """Days of trading in which the process dies again and again."""
    arm(stage, dice)
    while dice.kills < deaths:
        for step in stage.steps():
            step()
            while True:
                try:
                    stage.engine.cycle()
                    break
                except Killed:
                    stage.restart()
                    arm(stage, dice)
                    if step == stage.close:
                        stage.close()
                    else:
                        stage.quote([stage.broker.prices[s] for s in stage.bars.symbols])
    dice.armed = False
    for _ in range(3):
        stage.clock.move(61.0)
        stage.engine.cycle()


def query(stage, sql):
    with stage.writer.transaction() as session:
        return session.execute(text(sql)).all()


def check(stage) -> None:
    """What must hold whatever happened."""
    meant = [(o.signal.id, o.leg, o.symbol) for o in stage.broker.meant.values()]
    assert len(meant) == len(set(meant)), "an order was placed twice"
    known = {name for (name,) in query(stage, "select id from intents")}
    assert {o.client_id for o in stage.broker.placed.values()} <= known, "an order nobody decided"
    lost = query(stage, "select id, state from intents where state in ('new','sending','unknown')")
    assert not lost
    book = stage.engine.book
    theirs = {s: q for s, q in stage.broker.held.items() if q}
    assert {s: p.quantity for s, p in book.positions.items()} == theirs
    assert book.cash == pytest.approx(stage.broker.cash, abs=0.005)
    guarded = {s for (s,) in query(stage, "select symbol from legs where state = 'open'")}
    assert {*theirs} <= guarded, "a position without a stop"


def test_deaths_leave_no_order_twice_and_none_lost(tmp_path):
    dice = Dice(SEED, 0.02)
    with staged(tmp_path / "book.sqlite", history=90) as stage:
        live(stage, dice, DEATHS)
        check(stage)
        assert len(stage.broker.meant) > 10
        with stage.writer.transaction() as session:
            found = replayed(session)
        assert found.divergence is None


def test_a_fresh_id_on_every_try_would_be_caught(tmp_path, monkeypatch):
    """The positive control: the bug that the ids exist to prevent."""
    send = Desk.send

    def careless(self, intent, at):
        submit = self.broker.submit
        fresh = order_id(intent.order.signal.id, intent.order.leg, 1000 + intent.tries)

        def renamed(order):
            return submit(replace(order, id=fresh))

        self.broker.submit = renamed
        try:
            send(self, intent, at)
        finally:
            self.broker.submit = submit

    monkeypatch.setattr(Desk, "send", careless)
    with staged(tmp_path / "book.sqlite", history=90) as stage:
        live(stage, Dice(SEED, 0.03), 60)
        with pytest.raises(AssertionError, match=r"placed twice|nobody decided"):
            check(stage)


class Moody(FakeBroker):
    """Accepts and says nothing, refuses, hangs up, hides what it has for a while."""

    def __init__(self, time, seed: int) -> None:
        super().__init__(time)
        self.random, self.hidden = np.random.default_rng(seed), {}
        self.moods = 0

    def submit(self, order):
        mood = self.random.choice(["fine", "lost", "dead", "refused", "early"])
        self.moods += mood != "fine"
        if mood == "dead":
            raise UnknownOutcome("no answer; the order never arrived")
        if mood == "early":
            raise UnavailableBroker("connection refused")
        if mood == "refused" and order.id not in self.placed:
            raise RefusedOrder("403 40310000 insufficient buying power")
        placed = super().submit(order)
        if mood == "lost":
            self.hidden[order.id] = self.time.market().timestamp() + self.random.integers(0, 12)
            raise UnknownOutcome("504 after the order was accepted")
        return placed

    def find(self, client_id):
        if self.hidden.get(client_id, 0) > self.time.market().timestamp():
            return None
        if self.random.random() < 0.2:
            raise UnavailableBroker("503")
        return super().find(client_id)

    def orders(self, since):
        if self.random.random() < 0.1:
            raise UnavailableBroker("timeout")
        now = self.time.market().timestamp()
        return [o for o in super().orders(since) if self.hidden.get(o.client_id, 0) <= now]


def test_an_ambiguous_broker_never_gets_an_order_twice(tmp_path):
    with staged(tmp_path / "book.sqlite", history=90) as stage:
        stage.broker = Moody(stage.clock, SEED)
        stage.restart()
        for _ in range(60):
            stage.day()
        stage.broker.random = np.random.default_rng(1)
        for _ in range(20):
            stage.clock.move(31.0)
            stage.engine.cycle()
        assert stage.broker.moods > 20
        check(stage)
