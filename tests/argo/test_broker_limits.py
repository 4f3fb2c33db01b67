"""Limits that hold whatever the engine believes, and never in the way of an exit."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_broker_fake import Act, alpaca, broker, order

from argo_alpine.domain import (
    InvalidSettings,
    RefusedOrder,
    UnavailableBroker,
    UnavailableSource,
    UnknownOutcome,
)
from services.argo.brokers.governor import Governor, Limits
from services.argo.brokers.limiter import Limiter, Share
from tests.clocks import ManualClock

MORNING = datetime(2005, 3, 1, 15, tzinfo=UTC)


class Memory:
    """A store of one value."""

    def __init__(self):
        self.state, self.saves = {}, 0

    def load(self):
        return self.state

    def save(self, state):
        self.state, self.saves = state, self.saves + 1


@pytest.fixture
def clock():
    return ManualClock(MORNING)


@pytest.fixture
def memory():
    return Memory()


def entry(n, quantity=5):
    return order(quantity, id=f"aa1-{n}")


def test_entries_and_questions_leave_the_last_calls_to_exits(clock):
    limiter = Limiter(clock.monotonic, per_minute=200, reserve=40)
    for n in range(160):
        limiter.take(Share.ENTRY if n % 2 else Share.ROUTINE)
    with pytest.raises(RefusedOrder, match="none left for entry"):
        limiter.take(Share.ENTRY)
    with pytest.raises(UnavailableBroker, match="none left for routine"):
        limiter.take(Share.ROUTINE)
    for _ in range(40):
        limiter.take(Share.EXIT)
    with pytest.raises(UnavailableBroker, match="none left for exit"):
        limiter.take(Share.EXIT)


def test_a_call_comes_back_a_minute_after_it_was_made(clock):
    limiter = Limiter(clock.monotonic, per_minute=2, reserve=0)
    limiter.take(Share.ROUTINE)
    clock.move(30)
    limiter.take(Share.ROUTINE)
    clock.move(29.9)
    assert limiter.free() == 0
    clock.move(0.1)
    assert limiter.free() == 1


@given(st.lists(st.floats(0, 20), min_size=30, max_size=200))
def test_no_minute_ever_sees_more_calls_than_allowed(waits):
    clock = ManualClock(MORNING)
    limiter, made = Limiter(clock.monotonic, per_minute=10, reserve=3), []
    for wait in waits:
        clock.move(wait)
        try:
            limiter.take(Share.EXIT)
            made.append(clock.seconds)
        except UnavailableBroker:
            pass
        assert sum(at > clock.seconds - 60 for at in made) <= 10


def test_a_broker_that_counts_more_leaves_only_the_reserve(clock):
    limiter = Limiter(clock.monotonic, per_minute=10, reserve=3)
    limiter.exhaust()
    limiter.exhaust()
    assert limiter.free() == 3
    limiter.take(Share.EXIT)
    limiter.exhaust()
    assert limiter.free() == 2


@pytest.mark.parametrize("reserve", [-1, 10, 11])
def test_a_reserve_that_leaves_nothing_is_refused(clock, reserve):
    with pytest.raises(InvalidSettings):
        Limiter(clock.monotonic, per_minute=10, reserve=reserve)


def test_too_many_entries_in_a_minute_latch_and_survive_a_restart(clock, memory):
    limits = Limits(orders_per_minute=3)
    governor = Governor(memory, clock, limits)
    for n in range(3):
        governor.admit(entry(n))
    with pytest.raises(RefusedOrder, match="governor: more than 3 orders in a minute"):
        governor.admit(entry(3))
    clock.move(3_600)
    again = Governor(memory, clock, limits)
    with pytest.raises(RefusedOrder, match=r"governor: more than 3 .* reset"):
        again.admit(entry(4))
    assert again.latched
    again.reset()
    again.admit(entry(5))


def test_a_minute_that_has_passed_does_not_count(clock, memory):
    governor = Governor(memory, clock, Limits(orders_per_minute=1))
    for n in range(5):
        governor.admit(entry(n))
        clock.move(60)
    assert not governor.latched


def test_orders_of_a_day_are_counted_by_id_and_by_the_exchanges_date(clock, memory):
    governor = Governor(memory, clock, Limits(orders_per_day=2))
    for n in (0, 0, 1, 1):  # a repeated attempt is the same order
        governor.admit(entry(n))
        clock.move(60)
    clock.move(9 * 3_600 + 1_800)  # past midnight UTC, before midnight in New York
    with pytest.raises(RefusedOrder, match="more than 2 orders on 2005-03-01"):
        governor.admit(entry(2))
    governor.reset()
    clock.move(6 * 3_600)
    governor.admit(entry(3))


def test_a_new_day_brings_a_new_allowance_but_lifts_no_latch(clock, memory):
    governor = Governor(memory, clock, Limits(orders_per_day=1))
    governor.admit(entry(0))
    clock.move(86_400)
    governor.admit(entry(1))
    with pytest.raises(RefusedOrder):
        governor.admit(entry(2))
    clock.move(86_400)
    with pytest.raises(RefusedOrder, match="a person has to reset it"):
        governor.admit(entry(3))


def test_the_notional_of_a_day_counts_shorts_too_at_the_dearest_price(clock, memory):
    governor = Governor(memory, clock, Limits(notional_per_day=1_100.0))
    governor.admit(entry(0))  # 5 shares, at most 105.04
    with pytest.raises(RefusedOrder, match=r"governor: 1143.20 on 2005-03-01, at most 1100.00"):
        governor.admit(order(-6, id="aa1-short", stop=103.0, target=95.0))


def test_a_close_is_never_governed(clock, memory):
    governor = Governor(memory, clock, Limits(orders_per_day=1))
    governor.admit(entry(0))
    with pytest.raises(RefusedOrder):
        governor.admit(entry(1))
    saves = memory.saves
    governor.admit(order(-5, "close", "aa1-close"))
    assert memory.saves == saves


def test_without_memory_or_time_no_entry_passes(clock, memory):
    def broken(*_):
        raise OSError("disk full")

    for name in ("load", "save"):
        store = Memory()
        setattr(store, name, broken)
        with pytest.raises(RefusedOrder, match=r"governor: its counts cannot be .*disk full"):
            Governor(store, clock).admit(entry(0))
    memory.state = {"day": "2005-03-01"}
    with pytest.raises(RefusedOrder, match="cannot be read"):
        Governor(memory, clock).admit(entry(0))

    class Timeless(ManualClock):
        def market(self):
            raise UnavailableSource("nobody tells the time")

    with pytest.raises(RefusedOrder, match="governor: nobody tells the time"):
        Governor(Memory(), Timeless(MORNING)).admit(entry(0))


def test_the_adapter_obeys_its_governor_before_anything_leaves(clock, memory):
    with alpaca() as fake:
        there = broker(fake, governor=Governor(memory, clock, Limits(orders_per_day=1)))
        there.submit(entry(0))
        with pytest.raises(RefusedOrder, match="governor"):
            there.submit(entry(1))
        there.submit(order(-5, "close", "aa1-close"))
        assert list(fake.orders) == ["aa1-0", "aa1-close"]


def test_a_governor_that_stops_a_second_attempt_does_not_call_the_first_refused(clock, memory):
    with alpaca() as fake:
        there = broker(fake, governor=Governor(memory, clock, Limits(orders_per_minute=1)))
        fake.script.append(Act(drop=True))
        for _ in range(2):
            with pytest.raises(UnknownOutcome):
                there.submit(entry(0))
        assert list(fake.orders) == ["aa1-0"]
        assert len(fake.posts()) == 1
