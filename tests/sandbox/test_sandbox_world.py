"""Time in the sandbox: five windows a session, prices from the record, nothing from a clock."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from argo_alpine.domain import InvalidBars, InvalidSettings
from argo_alpine.loading import load
from services.sandbox.world import DWELL, SYMBOLS, WINDOWS, World, path, quoted

YEAR = load(SYMBOLS, date(2004, 1, 2), date(2005, 12, 30))
DAY = date(2005, 3, 1)


def world(**options):
    return World(YEAR, **{"start": DAY, **options})


def places(made, windows):
    seen = []
    for _ in range(windows):
        made.leap(1)
        seen.append((made.day, made.window))
    return seen


def test_a_fresh_world_stands_in_the_last_window_before_the_close():
    made = world()
    assert (made.day, made.window, made.is_open) == (DAY, "close", True)
    assert made.at == datetime(2005, 3, 1, 21, tzinfo=UTC) - timedelta(seconds=DWELL)


def test_five_windows_make_a_session_and_nights_and_weekends_are_skipped():
    made = world(start=date(2005, 3, 4))  # a Friday
    made.leap(1)
    assert places(made, 6) == [
        *((date(2005, 3, 7), window) for window in WINDOWS),
        (date(2005, 3, 8), "open"),
    ]


def test_windows_keep_to_the_hours_of_a_half_day():
    made = world(start=date(2005, 11, 23))
    times = {}
    for _ in range(6):
        made.leap(1)
        times[made.window] = made.at
    assert times["open"] == datetime(2005, 11, 25, 14, 30, tzinfo=UTC)
    assert times["close"] == datetime(2005, 11, 25, 17, 59, 48, tzinfo=UTC)
    assert times["after"] == datetime(2005, 11, 25, 18, tzinfo=UTC)
    assert list(times.values()) != sorted(times.values())  # the first after is the day before
    assert times["open"] < times["first"] < times["second"] < times["close"]


def test_a_day_that_rises_sees_its_low_first_and_one_that_falls_its_high():
    assert path((10.0, 12.0, 9.0, 11.0)) == (10.0, 9.0, 12.0, 11.0)
    assert path((10.0, 12.0, 9.0, 9.5)) == (10.0, 12.0, 9.0, 9.5)
    assert path((10.0, 12.0, 9.0, 10.0)) == (10.0, 12.0, 9.0, 10.0)


def test_every_window_has_the_price_of_the_record():
    made = world(start=date(2005, 3, 1))
    made.leap(1)
    prices = []
    for _ in range(4):
        made.leap(1)
        prices.append(made.quotes["AAPL"].last)
    assert prices == [44.25, 44.89, 44.08, 44.121]  # 2005-03-02 fell


def test_a_quote_is_in_cents_and_never_locked():
    at = datetime(2005, 3, 1, 21, tzinfo=UTC)
    for price in (0.0101, 0.4, 7.0049, 44.121, 1234.5):
        quote = quoted("AAPL", price, at)
        assert quote.ask - quote.bid >= 0.0099
        assert quote.bid == round(quote.bid, 2) > 0 and quote.ask == round(quote.ask, 2)
        assert abs(quote.bid - price) < 0.011 + price * 2e-4
        assert abs(quote.ask - price) < 0.011 + price * 2e-4


def test_quotes_are_restamped_every_second_and_keep_the_stamp_of_the_close():
    made = world()
    begin = made.at
    made.move(1.5)
    assert made.at == begin + timedelta(seconds=1.5)
    assert {quote.at for quote in made.quotes.values()} == {begin + timedelta(seconds=1)}
    made.move(DWELL)
    close = datetime(2005, 3, 1, 21, tzinfo=UTC)
    assert made.window == "after" and made.at == close + timedelta(seconds=1.5)
    assert {quote.at for quote in made.quotes.values()} == {close}


def test_moving_in_small_steps_is_the_same_as_moving_at_once():
    small, large = world(), world()
    for _ in range(700):
        small.move(0.25)
    large.move(175)
    assert small.state() == large.state()


def test_the_exchange_trades_in_windows_and_rests_after_them():
    made = world()
    states = {}
    for _ in range(10):
        states[made.window] = made.exchange.is_open
        made.leap(1)
    assert states == {"open": True, "first": True, "second": True, "close": True, "after": False}


def test_an_order_sent_after_the_close_fills_at_the_open_of_the_next_day():
    made = world()
    made.leap(1)
    wish = {"symbol": "IBM", "qty": "3", "side": "buy", "type": "market", "time_in_force": "gtc"}
    placed = made.exchange.submit(wish, made.at)
    assert placed["status"] == "accepted"
    made.leap(1)
    filled = made.exchange.order(placed["id"])
    assert (filled["status"], float(filled["filled_avg_price"])) == ("filled", 92.76)


def test_the_account_is_marked_against_the_close_of_the_day_before():
    made = world()
    assert float(made.exchange.closes["AAPL"]) == 44.86  # 2005-02-28
    made.leap(1)
    assert float(made.exchange.closes["AAPL"]) == 44.5


def test_a_bar_is_known_from_its_close_on_and_not_a_moment_before():
    made = world()
    made.move(DWELL - 0.000001)
    assert made.known("AAPL").dates()[-1] == "2005-02-28"
    made.move(0.000001)
    assert made.known("AAPL").dates()[-1] == "2005-03-01"


def test_when_the_record_ends_time_stands_still_and_the_market_stays_closed():
    made = world(start=date(2005, 12, 30))
    made.move(1e6)
    assert made.ended and not made.is_open and not made.exchange.is_open
    assert made.at == datetime(2005, 12, 30, 21, 0, 12, tzinfo=UTC)
    before = made.state()
    made.leap(3)
    assert made.state() == before


def test_a_world_goes_on_from_its_state_as_if_it_had_never_stopped():
    steady, stopped = world(), world()
    wish = {"symbol": "GOOG", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}
    for each in (steady, stopped):
        each.move(3.3)
        each.exchange.submit(wish, each.at)
    resumed = world(start=date(2005, 6, 1), dwell=5.0)
    resumed.restore(json.loads(json.dumps(stopped.state())))
    assert resumed.state() == steady.state()
    for each in (steady, resumed):
        each.move(100.0)
    assert resumed.state() == steady.state()
    assert resumed.quotes == steady.quotes


@pytest.mark.parametrize(
    "change",
    [{"version": 9}, {"window": "lunch"}, {"session": "2005-03-05"}, {"now": None}, {"dwell": 0}],
)
def test_a_state_that_is_not_ours_is_refused_and_changes_nothing(change):
    made = world()
    before = made.state()
    with pytest.raises(InvalidSettings):
        made.restore({**before, **change})
    assert made.state() == before


def test_another_dwell_holds_from_the_next_window_on():
    made = world()
    made.set_dwell(2.0)
    made.move(11.0)
    assert made.window == "close"
    made.move(1.5)
    assert made.window == "after"
    made.move(2.5)
    assert (made.window, made.now - made.begin) == ("open", 1_000_000)


@pytest.mark.parametrize("seconds", [0, -1, 301, float("nan")])
def test_a_dwell_that_cannot_be_meant_is_refused(seconds):
    with pytest.raises(InvalidSettings, match="dwell"):
        world(dwell=seconds)


def test_a_start_without_a_session_is_refused_by_name():
    with pytest.raises(InvalidSettings, match="2005-03-05"):
        world(start=date(2005, 3, 5))


def test_bars_that_are_not_daily_are_refused():
    with pytest.raises(InvalidBars, match="not the close of a session"):
        World(load(["EURUSD"]))
