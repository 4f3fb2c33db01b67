"""What is true of every session, and a few that history decided."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_alpine import sessions as sessions_module
from argo_alpine.domain import NEW_YORK, InvalidTime, UnavailableData
from argo_alpine.sessions import (
    HOUR,
    ahead_of_utc,
    calendar,
    closes,
    columns,
    columns_of,
    exchange_days,
    hours,
    hours_file,
    instant,
    microseconds,
    offsets,
    openings,
    session_at,
    sessions,
)

_, OPENS, ENDS = hours()
moments = st.integers(int(OPENS[0]), int(ENDS[-1]) - 1).map(instant)
zones = st.integers(-12, 14).map(lambda hour: timezone(timedelta(hours=hour)))


@pytest.mark.parametrize(("year", "count"), [(2025, 250), (2026, 251), (2027, 251)])
def test_cases_8_the_years_have_as_many_sessions_as_xnys_says(year, count):
    assert len(sessions(date(year, 1, 1), date(year, 12, 31))) == count


def test_cases_8_xnys_closes_at_one_on_the_friday_after_thanksgiving():
    row = sessions(date(2026, 11, 27), date(2026, 11, 27)).iloc[0]
    assert row["early"]
    assert f"{row['close'].tz_convert(NEW_YORK):%H:%M}" == "13:00"


@given(moments, zones)
def test_an_instant_survives_the_way_into_an_array_from_any_zone(at, zone):
    assert instant(microseconds(at.astimezone(zone))) == at


@given(moments)
def test_a_session_is_in_progress_or_the_next_and_none_is_skipped(at):
    session = session_at(at)
    assert session is not None and at < session.close
    _, _, ends = hours()
    assert not ((ends > microseconds(at)) & (ends < microseconds(session.close))).any()


@given(st.integers(0, 11_000))
def test_the_open_is_in_the_session_and_the_close_is_not(i):
    days, opens, ends = hours()
    assert microseconds(session_at(instant(opens[i])).open) == opens[i]
    assert microseconds(session_at(instant(ends[i])).open) == opens[i + 1]
    assert exchange_days(np.array([opens[i], ends[i]])).tolist() == [days[i], days[i]]


def test_every_close_is_found_by_its_date_in_any_order():
    days, _, ends = hours()
    backwards = days[::-1].astype("datetime64[D]").tolist()
    assert (closes(backwards) == ends[::-1]).all()
    assert len(closes([])) == 0


@pytest.mark.parametrize("day", ["2026-11-26", "2026-03-07", "1989-12-29", "2036-01-02"])
def test_a_date_without_a_session_is_refused_by_name(day):
    with pytest.raises(InvalidTime, match=day):
        closes([date(2026, 11, 25), date.fromisoformat(day)])


def test_the_utc_date_is_not_the_exchange_date_after_midnight():
    at = np.array([microseconds(datetime(2026, 1, 2, h, tzinfo=UTC)) for h in (0, 4, 5)])
    assert [str(d) for d in exchange_days(at).astype("datetime64[D]")] == [
        "2026-01-01",
        "2026-01-01",
        "2026-01-02",
    ]


def test_beyond_the_calendar_nothing_is_known_and_nothing_is_guessed():
    assert session_at(datetime(2036, 1, 1, tzinfo=UTC)) is None
    assert session_at(datetime(1980, 1, 1, tzinfo=UTC)) is None
    with pytest.raises(UnavailableData, match="2036-12-31"):
        sessions(date(2036, 1, 1), date(2036, 12, 31))


def test_a_naive_time_is_refused():
    with pytest.raises(InvalidTime, match="zone"):
        session_at(datetime(2026, 3, 6, 16))  # noqa: DTZ001


def test_the_calendar_is_built_once_and_does_not_follow_the_clock():
    assert calendar() is calendar("XNYS")
    assert str(calendar().last_session.date()) == "2035-12-31"


def test_importing_the_module_does_not_import_the_calendars():
    code = "import argo_alpine.bars, sys; sys.exit('exchange_calendars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.fixture
def kept_elsewhere(tmp_path, monkeypatch):
    "Hours are asked for anew, and kept in an empty folder."
    monkeypatch.setattr(sessions_module, "compiled_folder", lambda package: tmp_path / "kept")
    columns.cache_clear()
    yield tmp_path / "kept"
    columns.cache_clear()


def no_calendar(exchange):
    raise AssertionError(f"the calendar of {exchange} was built again")


def test_hours_are_kept_and_read_back_without_the_calendar(kept_elsewhere, monkeypatch):
    first = hours()
    assert np.array_equal(first, columns_of(calendar())[:3])
    assert [file.name for file in kept_elsewhere.iterdir()] == [hours_file().name]
    columns.cache_clear()
    monkeypatch.setattr(sessions_module, "calendar", no_calendar)
    assert np.array_equal(hours(), first)


def flipped(whole):
    return whole[:50_000] + bytes([whole[50_000] ^ 1]) + whole[50_001:]


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: b"PK\x03\x04",
        lambda whole: whole[:31],
        lambda whole: whole[:40_000],
        lambda whole: whole[:40_000] + bytes(len(whole) - 40_000),
        lambda whole: whole + b"\0" * 24,
        flipped,
    ],
)
def test_hours_that_are_not_what_was_written_are_made_again(kept_elsewhere, damage):
    first = hours()
    file = hours_file()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    columns.cache_clear()
    assert np.array_equal(hours(), first)
    assert file.read_bytes() == whole


def test_a_file_that_could_not_be_put_in_its_place_is_not_left_behind(kept_elsewhere, monkeypatch):
    def full(*_):
        raise OSError(28, "no space left")

    monkeypatch.setattr(sessions_module.os, "replace", full)
    assert np.array_equal(hours(), columns_of(calendar())[:3])
    assert [*kept_elsewhere.iterdir()] == []


def test_sessions_are_those_of_the_calendar():
    known = calendar()
    table = sessions(date(1990, 1, 1), date(2035, 12, 31))
    expected = pd.DataFrame({"open": known.opens, "close": known.closes})
    expected["early"] = expected.index.isin(known.early_closes)
    pd.testing.assert_frame_equal(table, expected, check_names=False, check_freq=False)
    assert table["early"].sum() > 90


def test_only_new_yorks_hours_are_kept(kept_elsewhere):
    london = hours("XLON")
    assert len(london[0]) > 11_000 and not kept_elsewhere.exists()
    assert not np.array_equal(london[1][:100], hours()[1][:100])


def test_hours_are_known_where_nobody_may_write(kept_elsewhere):
    kept_elsewhere.write_text("a file where the folder should be")
    assert np.array_equal(hours(), columns_of(calendar())[:3])


@pytest.mark.parametrize("what", ["release", "clock"])
def test_another_release_or_clock_does_not_read_the_hours_of_this_one(
    kept_elsewhere, monkeypatch, what
):
    hours()
    if what == "release":
        monkeypatch.setattr(sessions_module, "version", lambda name: "0.0")
    else:
        since, ahead = offsets()
        monkeypatch.setattr(sessions_module, "offsets", lambda: (since, ahead + HOUR))
    columns.cache_clear()
    monkeypatch.setattr(sessions_module, "calendar", no_calendar)
    with pytest.raises(AssertionError, match="built again"):
        hours()


def test_an_exchange_without_a_calendar_is_refused_and_nothing_kept(kept_elsewhere):
    with pytest.raises(UnavailableData, match="XNYS"):
        hours("../New York")
    assert not kept_elsewhere.exists()


def test_new_york_is_as_far_ahead_as_its_clock_says_at_every_hour():
    hourly = np.arange(0, microseconds(datetime(2035, 12, 31, tzinfo=UTC)), HOUR)
    since, ahead = offsets()
    assert np.array_equal(ahead[np.searchsorted(since, hourly, "right") - 1], ahead_of_utc(hourly))
    assert np.array_equal(exchange_days(hourly), (hourly + ahead_of_utc(hourly)) // (24 * HOUR))


@pytest.mark.parametrize("minutes", [5, 30, 60, 90, 120])
def test_every_bar_of_a_session_opens_where_the_one_before_ended(minutes):
    "The last bar of a session may be shorter, and a half day ends early."
    first, last = (
        int(np.searchsorted(hours()[0], np.datetime64(d).astype(int)))
        for d in ("2019-11-25", "2019-12-06")
    )
    at, opened = [], []
    for begin, end in zip(OPENS[first:last], ENDS[first:last], strict=True):
        edges = np.append(np.arange(begin, end, minutes * 60_000_000), end)
        at += edges[1:].tolist()
        opened += edges[:-1].tolist()
    found = openings(np.array(at))
    per_day = -(-390 // minutes)
    assert found[per_day:].tolist() == opened[per_day:]  # of the first day nothing is known before
