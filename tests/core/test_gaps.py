"""A symbol that lacks bars is told of, and a market with another calendar is not."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_alpine.backtest import backtest
from argo_alpine.bars import COLUMNS, Bars, join
from argo_alpine.gaps import NAMED, gaps, gaps_in_words
from argo_alpine.sessions import date_of, hours
from tests.test_parity import a_market

CLOSES = hours()[2]
MINUTE = 60_000_000


def without(bars: Bars, symbol: str, rows) -> Bars:
    """The same bars, but for some of one symbol."""
    columns = {name: getattr(bars, name).copy() for name in COLUMNS}
    for column in columns.values():
        column[rows, bars.symbols.index(symbol)] = np.nan
    return replace(bars, **columns)


def stamped(at, symbol="A") -> Bars:
    ones = np.full((len(at), 1), 10.0)
    return Bars((symbol,), np.asarray(at), ones, ones, ones, ones, ones, "raw")


@settings(max_examples=50)
@given(st.sets(st.integers(1, 58), min_size=1, max_size=15))
def test_what_is_taken_out_of_the_life_of_a_symbol_is_missing(rows):
    whole = a_market(1, 60, ("A", "B"), 0.02, missing=0.0)
    lost = [*rows]
    (gap,) = gaps(without(whole, "B", lost))
    row = {"A": (), "B": lost}
    assert (gap.symbol, gap.missing, gap.due) == ("B", len(row["B"]), 60)
    where = {date_of(whole.days[t]) for t in lost}
    assert {gap.first, gap.last} <= where and 1 <= gap.longest <= gap.missing
    assert gap.longest == max(sum(1 for _ in range(run)) for run in lengths(sorted(lost)))


def lengths(rows):
    """How many follow each other without a break."""
    found, before = [], None
    for row in rows:
        found = [*found[:-1], found[-1] + 1] if before == row - 1 else [*found, 1]
        before = row
    return found


@pytest.mark.parametrize("rows", [slice(0, 20), slice(40, None)], ids=["later", "sooner"])
def test_whoever_begins_later_or_ends_sooner_lacks_nothing(rows):
    whole = a_market(1, 60, ("A", "B"), 0.02, missing=0.0)
    assert gaps(without(whole, "B", rows)) == ()


def test_minutes_without_a_trade_are_no_gap_and_a_session_without_one_is():
    rng, ends = np.random.default_rng(3), CLOSES[5000:5010]
    minutes = np.concatenate([end - MINUTE * np.arange(380)[::-1] for end in ends])
    thin = np.sort(rng.choice(minutes, len(minutes) // 5, replace=False))
    assert gaps(join([stamped(minutes), stamped(thin, "B")])) == ()
    torn = thin[(thin <= ends[3]) | (thin > ends[5])]
    (gap,) = gaps(join([stamped(minutes), stamped(torn, "B")]))
    assert (gap.symbol, gap.missing, gap.due, gap.longest) == ("B", 2, 10, 2)
    assert gaps(stamped(torn, "B")) == (gap,)  # alone as well


def of_days(days, hour=22):
    return (np.asarray(days) * 24 + hour) * 3_600_000_000


def test_other_calendars_are_no_gaps_and_holes_in_them_are():
    sessions = hours()[0][5000:5260]
    every = np.arange(sessions[0], sessions[-1])
    weekdays = every[(every + 3) % 7 < 5]
    holidays = np.setdiff1d(weekdays, weekdays[[10, 90, 91]])  # of another exchange
    for days in (every, weekdays, holidays, sessions[::5], sessions[::21]):
        assert gaps(stamped(of_days(days))) == ()
    coin = np.delete(every, slice(100, 130))  # a month, Saturdays and Sundays included
    (gap,) = gaps(stamped(of_days(coin)))
    assert gap.missing == gap.longest == np.isin(sessions, every[100:130]).sum() > 15
    torn = np.delete(sessions[::5], slice(10, 30))
    (gap,) = gaps(stamped(of_days(torn)))
    assert gap.missing == gap.longest == 20 * 5 + 4


def test_beside_new_york_other_calendars_are_no_gaps_either():
    sessions = hours()[0][5000:5500]
    every = np.arange(sessions[0], sessions[-1] + 1)
    weekdays = every[(every + 3) % 7 < 5]
    abroad = np.setdiff1d(
        weekdays, weekdays[17::40]
    )  # open on New York's holidays, and closed on others
    for days in (abroad, every, weekdays, sessions[::5], sessions[::21]):
        assert gaps(join([stamped(of_days(sessions)), stamped(of_days(days), "B")])) == ()
    half = np.delete(abroad, slice(100, 200))
    (gap,) = gaps(join([stamped(of_days(sessions)), stamped(of_days(half), "B")]))
    assert gap.symbol == "B" and 90 < gap.missing == gap.longest <= 100


def test_a_stray_row_of_a_holiday_hides_no_gap():
    sessions = hours()[0][5000:5500]
    weekdays = np.setdiff1d(np.arange(sessions[0], sessions[-1]), sessions)
    stray = weekdays[(weekdays + 3) % 7 < 5][0]
    torn = np.sort(np.append(np.delete(sessions, slice(200, 326)), stray))
    (gap,) = gaps(stamped(of_days(torn)))
    assert gap.missing == gap.longest == 126


def test_a_gap_that_the_first_day_cuts_counts_from_there():
    whole = a_market(1, 60, ("A", "B"), 0.02, missing=0.0)
    torn = without(whole, "B", slice(20, 40))
    (gap,) = gaps(torn, date_of(whole.days[30]))
    assert (gap.symbol, gap.missing, gap.due) == ("B", 10, 30)
    assert gaps(torn, date_of(whole.days[40])) == ()
    run = backtest(torn, start=date_of(whole.days[30]))
    assert "B has no bar on 10 of the 30 sessions" in run._repr_html_()


def test_a_gap_that_the_last_day_cuts_counts_until_there():
    whole = a_market(1, 60, ("A", "B"), 0.02, missing=0.0)
    days = [date_of(day) for day in whole.days]
    torn = without(whole, "B", slice(20, 40))
    (gap,) = gaps(torn, days[10], days[29])
    assert (gap.missing, gap.due, gap.last) == (10, 20, days[29])
    assert gaps(torn, days[25], days[29])[0].due == 5  # not one of its days is decided
    assert gaps(torn, days[0], days[19]) == gaps(torn, days[40], days[59]) == ()
    assert gaps(torn, days[10])[0].missing == 20  # each question has an answer of its own


def test_of_years_before_the_calendar_nothing_is_said():
    old = np.arange(5000, 5400)  # 1983
    assert gaps(stamped(of_days(old))) == ()


def test_words_name_the_worst_and_count_the_rest():
    names = tuple("ABCDEFGH")
    whole = a_market(1, 60, names, 0.02, missing=0.0)
    for n, name in enumerate(names[:-1]):
        whole = without(whole, name, slice(10, 11 + n))
    found = gaps(whole)
    assert [gap.symbol for gap in found] == [*"GFEDCBA"]
    words = gaps_in_words(found)
    first, last = (date_of(whole.days[t]) for t in (10, 16))
    assert words.startswith(
        "G has no bar on 7 of the 60 sessions looked at between its first and its last "
        f"(7 in a row, {first} to {last}); F"
    )
    assert words.endswith("2 others lack some as well") and "B has" not in words
    assert gaps_in_words(found[-1:]).endswith(f"its last ({first})")
    assert len(words.split("; ")) == NAMED + 1


def test_a_run_tells_of_the_gaps_in_its_period_and_of_no_others():
    whole = a_market(1, 120, ("A", "B"), 0.02, missing=0.0)
    torn = without(whole, "B", slice(20, 30))
    assert "B has no bar on 10 of the 120 sessions" in backtest(torn)._repr_html_()
    later = backtest(torn, start=date_of(whole.days[60]))
    assert "has no bar" not in later._repr_html_() + backtest(whole)._repr_html_()
