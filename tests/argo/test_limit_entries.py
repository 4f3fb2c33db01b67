"""The engine with a policy of limit entries: no worse than asked, and not for longer than asked."""

import math
from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import ValidationError
from sqlalchemy import text

from argo_alpine.engine import Policy
from argo_alpine.sizing import SizingPolicy
from services.argo import store
from services.argo.desk import Rules
from services.argo.journal import replayed
from services.argo.ports import OrderState
from services.common.sections import Settings, Trading
from services.common.settings import policy
from tests import argo_stage
from tests.argo_stage import staged

LIMITED = Policy(sizing=SizingPolicy(is_limit=True, limit_bps=50.0))
SESSION = timedelta(seconds=23_400)


@pytest.fixture
def stage(tmp_path):
    with staged(tmp_path / "book.sqlite", history=120, policy=LIMITED) as stage:
        stage.engine.desk.rules = Rules(True, SESSION)
        stage.engine.cycle()
        yield stage


def entries(stage):
    """Every entry that was sent, with what the broker made of it."""
    sent = stage.broker.meant.items()
    return [(o, stage.broker.placed[name]) for name, o in sent if o.leg == "entry"]


def broken(stage) -> list[str]:
    """Entries that got a worse price than their signal allowed."""
    worse = []
    for order, placed in entries(stage):
        side = 1 if order.quantity > 0 else -1
        if placed.filled and side * (placed.average - order.signal.limit) > 1e-9:
            worse.append(order.symbol)
    return worse


def test_every_entry_carries_its_limit_and_none_is_filled_at_a_worse_price(stage):
    for _ in range(40):
        stage.day()
    sent = entries(stage)
    assert all(math.isfinite(order.signal.limit) for order, _ in sent)
    states = [placed.state for _, placed in sent]
    assert states.count(OrderState.FILLED) >= 5
    assert states.count(OrderState.CANCELED) >= 1
    assert broken(stage) == []


def test_a_broker_that_overlooks_limits_is_noticed(stage, monkeypatch):
    """Positive control: entries are filled at whatever price comes next."""
    monkeypatch.setattr(argo_stage, "allowed", lambda order, meant, before, price: price)
    for _ in range(10):
        stage.day()
    assert broken(stage)


def test_the_books_agree_after_every_day_and_a_replay_decides_the_same(stage):
    for _ in range(20):
        stage.day()
        book = stage.engine.book
        held = {s: q for s, q in stage.broker.held.items() if q}
        assert {s: p.quantity for s, p in book.positions.items()} == held
        assert book.cash == pytest.approx(stage.broker.cash, abs=0.005)
    with stage.writer.transaction() as session:
        found = replayed(session)
    assert found.divergence is None
    assert found.decisions >= 100


def unfilled(stage):
    """A day's open, then the first entry that waits for its price."""
    for _ in range(40):
        for step in stage.steps():
            step()
            stage.engine.cycle()
            waiting = [(o, p) for o, p in entries(stage) if not p.filled and not p.state.is_final]
            if waiting and stage.clock.market() - waiting[0][0].at >= timedelta(seconds=3):
                return waiting[0]
    raise AssertionError("no entry had to wait")


def test_an_unfilled_limit_is_canceled_when_its_time_to_live_is_over(stage):
    order, _ = unfilled(stage)
    stage.engine.desk.rules = Rules(True, timedelta(seconds=60))
    stage.at(order.at + timedelta(seconds=60))
    stage.engine.cycle()
    assert stage.broker.placed[order.id].state is OrderState.OPEN
    stage.clock.move(1.0)
    stage.engine.cycle()
    assert stage.broker.placed[order.id].state is OrderState.CANCELED
    stage.clock.move(60.0)  # the broker's lists are read now and then
    stage.engine.cycle()
    with stage.writer.transaction() as session:
        assert order.id not in {intent.order.id for intent in store.open_intents(session)}
        query = text("select state from intents where id = :id")
        assert session.execute(query, {"id": order.id}).scalar() == "canceled"


def test_a_limit_never_outlives_the_bar_it_was_meant_for(stage):
    order, placed = unfilled(stage)
    stage.engine.desk.rules = Rules(True, timedelta(days=9))
    stage.at(order.signal.expires - timedelta(seconds=1))
    stage.engine.cycle()
    assert stage.broker.placed[order.id].state is OrderState.OPEN
    stage.clock.move(1.0)
    stage.engine.cycle()
    assert stage.broker.placed[order.id].state is OrderState.CANCELED
    assert stage.broker.placed[order.id].id == placed.id


def test_settings_turn_limit_entries_on_and_leave_them_off_by_default():
    assert not policy(Settings()).sizing.is_limit
    trading = Trading(limit_entries=True, limit_bps=25.0)
    made = policy(Settings().model_copy(update={"trading": trading})).sizing
    assert (made.is_limit, made.limit_bps) == (True, 25.0)
    assert replace(made, is_limit=False, limit_bps=0.0) == policy(Settings()).sizing


def test_a_limit_beyond_the_stop_is_refused_before_anything_runs():
    with pytest.raises(ValidationError, match=r"beyond the stop.*write less than 300"):
        Trading(limit_entries=True, limit_bps=300.0)
    assert Trading(limit_bps=300.0).limit_bps == 300.0  # limits are off
