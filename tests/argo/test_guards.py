"""No position without a stop, no symbol stuck, no storm of orders, whatever the broker says."""

import sqlite3
from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from argo_alpine.domain import RefusedOrder, UnavailableBroker
from services.argo.ports import OrderState
from tests.argo_stage import FakeBroker, staged
from tests.live_stage import living


def rows(stage, query):
    with stage.writer.transaction() as session:
        return session.execute(text(query)).all()


@pytest.fixture
def stage(tmp_path):
    """A book with at least one open position."""
    with staged(tmp_path / "book.sqlite", history=120) as stage:
        stage.engine.cycle()
        while not {s for s, q in stage.broker.held.items() if q}:
            stage.day()
        yield stage


def later(stage, cycles=6, seconds=5.0):
    for _ in range(cycles):
        stage.clock.move(seconds)
        stage.engine.cycle()


def held(stage):
    return next((s, q) for s, q in stage.broker.held.items() if q)


def entry_of(stage, symbol):
    """The broker's entry whose bracket guards a symbol."""
    return next(
        o for o in stage.broker.placed.values()
        if o.symbol == symbol and o.legs and not all(leg.state.is_final for leg in o.legs)
    )  # fmt: skip


def lose_guards(stage, symbol):
    order = entry_of(stage, symbol)
    stage.broker.cancel(order.legs[0].id)


def test_a_frozen_symbol_does_not_leave_another_one_unguarded(stage):
    symbol, _ = held(stage)
    other = next(s for s in ("IBM", "GOOG", "MSFT", "AAPL") if s not in stage.engine.book.positions)
    stage.broker.held[other] = 7.0
    lose_guards(stage, symbol)
    stage.engine.gap()
    later(stage)
    assert [*stage.engine.status.frozen] == [other]
    assert rows(stage, "select symbol, state from intents where leg='protect'") == [
        (symbol, "open")
    ]


def test_a_stop_that_is_gone_is_replaced_even_while_its_target_rests(stage):
    symbol, quantity = held(stage)
    order = entry_of(stage, symbol)
    legs = [
        replace(leg, state=OrderState.REJECTED) if leg.leg == "stop" else leg for leg in order.legs
    ]
    stage.broker.placed[order.client_id] = replace(order, legs=tuple(legs))
    later(stage)
    stops = rows(stage, "select symbol, quantity from legs where leg = 'stop' and state = 'open'")
    assert (symbol, -quantity) in stops


def test_a_refused_exit_becomes_a_close_at_the_market_and_no_storm(stage, monkeypatch):
    symbol, _ = held(stage)
    submit = FakeBroker.submit

    def picky(self, order):
        if order.leg == "protect":
            self.posts.append(order.id)
            raise RefusedOrder("422 42210000 stop price must be beyond the price")
        return submit(self, order)

    monkeypatch.setattr(FakeBroker, "submit", picky)
    lose_guards(stage, symbol)
    later(stage, cycles=120)
    stage.broker.trade(dict(stage.broker.prices))
    later(stage)
    legs = [leg for (leg,) in rows(stage, "select leg from intents order by seq")]
    assert legs.count("protect") == 1 and legs.count("flatten") == 1
    assert not stage.broker.held[symbol]
    assert symbol not in stage.engine.book.positions


def test_a_broker_that_refuses_every_exit_is_asked_less_and_less(stage, monkeypatch):
    symbol, _ = held(stage)

    def refuse(self, order):
        self.posts.append(order.id)
        raise RefusedOrder("403 account blocked")

    monkeypatch.setattr(FakeBroker, "submit", refuse)
    lose_guards(stage, symbol)
    before = len(stage.broker.posts)
    later(stage, cycles=120)  # ten minutes
    assert 2 <= len(stage.broker.posts) - before <= 6


def test_an_engine_that_sends_nothing_cancels_nothing(stage):
    stage.auto_execute = False
    stage.restart()
    symbol, _ = held(stage)
    lose_guards(stage, symbol)
    before = rows(stage, "select count(*) from intents")
    later(stage, cycles=50)
    assert rows(stage, "select count(*) from intents") == before


def test_a_guard_that_is_heard_before_its_entry_waits_for_it(tmp_path):
    with staged(tmp_path / "book.sqlite", history=120) as stage:
        stage.engine.cycle()
        while not stage.broker.placed:
            stage.close()
            stage.engine.cycle()
            stage.t += 1
            stage.at(stage.closed[stage.t].replace(hour=15))
            stage.quote(stage.bars.open[stage.t])
            stage.engine.cycle()
        order = next(iter(stage.broker.placed.values()))
        done = stage.broker.filled(order, stage.broker.prices[order.symbol])
        stop = next(leg for leg in order.legs if leg.leg == "stop")
        out = stage.broker.filled(stop, stop.price)
        gone = [replace(leg, state=OrderState.CANCELED) for leg in order.legs if leg is not stop]
        stage.broker.placed[order.client_id] = replace(done, legs=(out, *gone))
        stage.engine.follow([out])
        later(stage)
        assert stage.engine.status.state == "running"
        assert rows(stage, "select count(*) from trades") == [(1,)]
        assert order.symbol not in stage.engine.book.positions


def test_both_exits_filled_is_seen_and_turned_back(stage):
    symbol, quantity = held(stage)
    order = entry_of(stage, symbol)
    legs = tuple(stage.broker.filled(leg, leg.price) for leg in order.legs)
    stage.broker.placed[order.client_id] = replace(order, legs=legs)
    assert stage.broker.held[symbol] == -quantity
    later(stage)
    stage.broker.trade(dict(stage.broker.prices))
    later(stage)
    assert not stage.broker.held[symbol]
    assert symbol not in stage.engine.book.positions
    assert not stage.engine.status.frozen


def test_nothing_is_sent_while_the_books_are_not_compared(tmp_path, monkeypatch):
    with staged(tmp_path / "book.sqlite", history=120) as stage:
        stage.engine.cycle()
        submit = FakeBroker.submit

        def hidden(self, order):
            raise UnavailableBroker("connection refused")

        monkeypatch.setattr(FakeBroker, "submit", hidden)
        steps = (step for _ in range(30) for step in stage.steps())
        while not rows(stage, "select 1 from intents where state = 'new'"):
            next(steps)()
            stage.engine.cycle()
        monkeypatch.setattr(FakeBroker, "submit", submit)

        def broken(self):
            raise UnavailableBroker("positions cannot be read")

        positions = FakeBroker.positions
        monkeypatch.setattr(FakeBroker, "positions", broken)
        posts = len(stage.broker.posts)
        stage.engine.gap()
        stage.clock.move(1.0)
        stage.engine.cycle()
        assert not stage.engine.status.reconciled
        assert len(stage.broker.posts) == posts
        monkeypatch.setattr(FakeBroker, "positions", positions)


def test_a_full_disk_stops_orders_and_nothing_else(stage, monkeypatch):
    transaction = stage.writer.transaction

    def full():
        raise OperationalError("insert", {}, sqlite3.OperationalError("disk is full"))

    monkeypatch.setattr(stage.writer, "transaction", full)
    posts = len(stage.broker.posts)
    later(stage, cycles=3)
    assert stage.engine.status.state == "waiting"
    assert "disk is full" in stage.engine.status.error
    monkeypatch.setattr(stage.writer, "transaction", transaction)
    later(stage, cycles=2)
    assert stage.engine.status.state == "running"
    for _ in range(5):
        stage.day()
    assert len(stage.broker.posts) > posts or stage.engine.book.positions


def test_an_order_the_broker_has_forgotten_ends(stage):
    symbol, _ = held(stage)
    order = entry_of(stage, symbol)
    del stage.broker.placed[order.client_id]
    later(stage, cycles=30)
    assert rows(stage, "select symbol, state from intents where leg = 'protect'") == [
        (symbol, "open")
    ]


def test_a_clock_that_runs_ahead_is_asked_about_before_anything_is_written(stage):
    at = stage.clock.market()
    market = stage.clock.market
    stage.clock.market = lambda: market().replace(year=2006)
    stage.broker.clock = lambda: at
    stage.engine.cycle()
    assert "clock" in stage.engine.status.error
    stage.clock.market = market
    stage.broker.clock = market
    later(stage, cycles=2)
    assert stage.engine.status.state == "running"


def test_a_stop_moved_by_a_person_still_counts_as_the_guard(tmp_path):
    with living(tmp_path) as live:
        live.turn()
        live.window()
        live.window()
        exchange, world = live.server.world.exchange, live.server.world
        stop = next(
            leg for o in exchange.orders(status="all", nested=True) for leg in o["legs"] or ()
            if leg["stop_price"]
        )  # fmt: skip
        moved = str(
            round(float(stop["stop_price"]) * (0.99 if stop["side"] == "sell" else 1.01), 2)
        )
        exchange.replace(stop["id"], {"stop_price": moved}, world.at)
        for _ in range(4):
            live.turn(2.0)
        with live.argo.writer.transaction() as session:
            own = session.execute(
                text("select count(*) from intents where leg = 'protect'")
            ).scalar()
            stops = session.execute(
                text(f"select count(*) from legs where leg = 'stop' and state = 'open' and "
                     f"symbol = '{stop['symbol']}'")
            ).scalar()  # fmt: skip
        assert (own, stops) == (0, 1)
        assert not live.argo.engine.status.frozen
