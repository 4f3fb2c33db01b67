"""When a source is left alone, and when it is tried again."""

import json

import pytest

from argo_alpine.domain import InvalidData
from services.argo.sources.breaker import Breaker


def broken(**options):
    breaker = Breaker(**options)
    for _ in range(5):
        assert breaker.allows(0.0)
        breaker.failed(0.0)
    return breaker


def test_four_failures_in_a_row_are_bad_luck_and_five_are_not():
    breaker = Breaker()
    for _ in range(4):
        breaker.failed(0.0)
    assert breaker.allows(0.0)
    breaker.failed(0.0)
    assert not breaker.allows(59.9)
    assert breaker.allows(60.0)


def test_a_success_begins_the_count_afresh():
    breaker = Breaker()
    for _ in range(2):
        for _ in range(4):
            breaker.failed(0.0)
        breaker.succeeded(0.0)
    assert not breaker.is_open


def test_half_of_the_last_twenty_is_too_much():
    breaker = Breaker()
    for i in range(19):
        assert not breaker.is_open
        breaker.failed(0.0) if i % 2 else breaker.succeeded(0.0)
    breaker.failed(0.0)
    assert breaker.is_open


def test_less_than_half_is_borne():
    breaker = Breaker()
    for i in range(200):
        breaker.failed(0.0) if i % 3 == 0 else breaker.succeeded(0.0)
    assert not breaker.is_open


def test_only_one_probe_is_on_its_way():
    breaker = broken()
    assert [breaker.allows(60.0) for _ in range(3)] == [True, False, False]


def test_each_failed_probe_doubles_the_pause_up_to_a_quarter_of_an_hour():
    breaker, now, pauses = broken(), 0.0, []
    for _ in range(7):
        pauses.append(breaker.until - now)
        now = breaker.until
        assert breaker.allows(now)
        breaker.failed(now)
    assert pauses == [60, 120, 240, 480, 900, 900, 900]


def test_a_successful_probe_closes_it_and_the_next_pause_is_short_again():
    breaker = broken()
    assert breaker.allows(60.0)
    breaker.failed(60.0)
    assert breaker.allows(180.0)
    breaker.succeeded(180.0)
    assert breaker.allows(180.0)
    for _ in range(5):
        breaker.failed(200.0)
    assert breaker.until == 260.0


@pytest.mark.parametrize(("drawn", "pause"), [(0.0, 45.0), (0.5, 60.0), (1.0, 75.0)])
def test_jitter_moves_the_pause_by_a_quarter(drawn, pause):
    assert broken(jitter=lambda: drawn).until == pause


def test_a_restart_forgets_nothing():
    breaker = broken()
    breaker.allows(60.0)
    breaker.failed(60.0)
    kept = json.loads(json.dumps(breaker.state(100.0)))
    after = Breaker()
    after.restore(kept, 5.0)
    assert (after.until, after.openings) == (85.0, 2)  # 80 of 120 seconds were left
    assert not after.allows(84.0)
    assert after.allows(85.0)
    half = Breaker()
    half.failed(0.0)
    half.succeeded(0.0)
    half.failed(0.0)
    after.restore(half.state(0.0), 0.0)
    assert ([*after.recent], after.failures, after.is_open) == ([True, False, True], 1, False)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"failures": -1, "openings": 0, "recent": "", "left": None},
        {"failures": 0, "openings": 99, "recent": "", "left": None},
        {"failures": 0, "openings": 0, "recent": "abc", "left": None},
        {"failures": 0, "openings": 0, "recent": "", "left": "soon"},
    ],
)
def test_a_state_nobody_saved_is_refused(state):
    with pytest.raises(InvalidData, match="breaker"):
        Breaker().restore(state, 0.0)
