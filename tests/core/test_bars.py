"""What is true of every set of bars, and of the files they come from."""

from dataclasses import replace
from datetime import UTC, date, datetime
from hashlib import sha256
from shutil import copytree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_alpine import samples as module
from argo_alpine.bars import (
    COLUMNS,
    Bars,
    between,
    from_frame,
    join,
    one_bar,
    to_frame,
)
from argo_alpine.domain import InvalidBars, InvalidData, InvalidTime, UnavailableData
from argo_alpine.loading import Action, adjust_splits, bars_of, load
from argo_alpine.samples import checked, checksums, samples_folder, symbols_there
from argo_alpine.sessions import exchange_days, hours

DAYS, _, CLOSES = hours()
price = st.floats(0.01, 10_000)


def day(i):
    return DAYS[i].astype("datetime64[D]").item()


@st.composite
def series(draw, symbol="AAPL"):
    rows = draw(st.lists(st.integers(0, 60), min_size=1, max_size=12, unique=True).map(sorted))
    quotes = [sorted(draw(st.tuples(price, price, price, price))) for _ in rows]
    low, open, close, high = np.array(quotes).T[:, :, None]
    volume = draw(st.lists(st.integers(0, 10**9), min_size=len(rows), max_size=len(rows)))
    return Bars((symbol,), CLOSES[rows], open, high, low, close, np.c_[volume], "raw")


def same(left, right):
    return (
        (left.symbols, left.basis) == (right.symbols, right.basis)
        and np.array_equal(left.at, right.at)
        and all(
            np.array_equal(getattr(left, n), getattr(right, n), equal_nan=True) for n in COLUMNS
        )
    )


def two():
    ones = np.full((2, 1), 10.0)
    return Bars(("AAPL",), CLOSES[:2], ones, ones, ones, ones, ones, "raw")


@given(series())
def test_a_frame_there_and_back_is_the_same_bars(bars):
    assert same(from_frame(to_frame(bars, "AAPL"), "AAPL", "raw"), bars)


@given(series("AAPL"), series("IBM"))
def test_joining_keeps_every_bar_and_makes_up_none(apple, ibm):
    both = join([apple, ibm])
    for bars in (apple, ibm):
        (symbol,) = bars.symbols
        assert to_frame(both, symbol).equals(to_frame(bars, symbol))
    assert set(both.at) == {*apple.at, *ibm.at}


@given(series("AAPL"), series("IBM"), series("MSFT"))
def test_joining_in_steps_is_joining_at_once(a, b, c):
    assert same(join([join([a, b]), c]), join([a, b, c]))


@given(series(), st.integers(0, 60), st.sampled_from([0.125, 0.5, 2.0, 4.0]))
def test_a_split_moves_nothing_but_the_unit(bars, i, ratio):
    adjusted = adjust_splits(bars, {"AAPL": [(day(i), ratio)]})
    assert np.array_equal(adjusted.close * adjusted.volume, bars.close * bars.volume)
    after = CLOSES[i] <= bars.at
    for side in (after, ~after):
        before, now = bars.close[side], adjusted.close[side]
        assert np.array_equal(now[1:] / now[:-1], before[1:] / before[:-1])
    assert np.array_equal(adjusted.close[after], bars.close[after])


@given(series(), st.lists(st.tuples(st.integers(0, 60), st.floats(0.01, 50)), max_size=4))
def test_any_split_of_sound_bars_is_sound_and_their_order_does_not_matter(bars, splits):
    dated = [(day(i), ratio) for i, ratio in splits]
    forth = adjust_splits(bars, {"AAPL": dated})
    back = adjust_splits(bars, {"AAPL": dated[::-1]})
    np.testing.assert_allclose(forth.close, back.close, rtol=1e-12)


@given(series(), st.integers(0, 60), st.integers(0, 60))
def test_a_period_holds_its_days_and_no_other(bars, i, j):
    first, last = min(i, j), max(i, j)
    wanted = bars.at[(CLOSES[first] <= bars.at) & (bars.at <= CLOSES[last])]
    if len(wanted):
        found = between(bars, day(first), day(last))
        assert np.array_equal(found.at, wanted)
        assert np.array_equal(found.days, exchange_days(wanted))
    else:
        with pytest.raises(UnavailableData, match="there are"):
            between(bars, day(first), day(last))


def test_the_matrices_are_contiguous_however_they_came():
    wide = np.asfortranarray(np.arange(1.0, 7.0).reshape(3, 2))
    bars = Bars(("AAPL", "IBM"), CLOSES[:3], wide, wide, wide, wide, wide, "raw")
    assert all(getattr(bars, name).flags.c_contiguous for name in COLUMNS)
    assert between(bars, day(1), day(2)).close.flags.c_contiguous


@pytest.mark.parametrize("name", COLUMNS)
def test_one_missing_number_is_a_damaged_bar_and_five_are_none(name):
    hole = np.array([[10.0], [np.nan]])
    with pytest.raises(InvalidBars, match=r"AAPL at 1990-01-03 21:00 UTC.*nan"):
        replace(two(), **{name: hole})
    bars = replace(two(), **dict.fromkeys(COLUMNS, hole))
    assert len(to_frame(bars, "AAPL")) == 1
    with pytest.raises(UnavailableData, match="no bar of AAPL"):
        one_bar(bars, 1, 0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"open": np.full((2, 1), -10.0)}, "above zero"),
        ({"close": np.full((2, 1), np.inf)}, "above zero"),
        ({"high": np.full((2, 1), 9.0)}, "high is below low"),
        ({"close": np.full((2, 1), 11.0)}, "outside"),
        ({"volume": np.full((2, 1), -1.0)}, "volume"),
        ({"volume": np.full((2, 2), 1.0)}, "shape"),
        ({"at": CLOSES[:2][::-1]}, "must ascend"),
        ({"at": CLOSES[[0, 0]]}, "must ascend"),
        ({"at": CLOSES[:2].astype(float)}, "int64"),
        ({"basis": "adjusted"}, "'adjusted'"),
        ({"symbols": ()}, "symbols"),
    ],
)
def test_what_no_market_made_is_refused_in_words(change, said):
    with pytest.raises(InvalidBars, match=said):
        replace(two(), **change)


def test_a_frame_without_a_zone_or_in_disorder_is_refused():
    frame = to_frame(two(), "AAPL")
    with pytest.raises(InvalidTime, match="AAPL"):
        from_frame(frame.tz_localize(None), "AAPL", "raw")
    with pytest.raises(InvalidTime, match="aware"):
        from_frame(frame.reset_index(drop=True), "AAPL", "raw")
    for bad in (frame.iloc[::-1], frame.iloc[[0, 0]]):
        with pytest.raises(InvalidBars, match="must ascend"):
            from_frame(bad, "AAPL", "raw")
    with pytest.raises(InvalidBars, match="NaN"):
        from_frame(frame * np.nan, "AAPL", "raw")
    with pytest.raises(InvalidBars, match="volume"):
        from_frame(frame.drop(columns="volume"), "AAPL", "raw")


def test_a_frame_in_any_zone_and_unit_is_the_same_bars():
    frame = to_frame(two(), "AAPL")
    abroad = frame.set_axis(frame.index.tz_convert("Asia/Tokyo").as_unit("ns"))
    assert same(from_frame(abroad, "AAPL", "raw"), two())


def test_raw_and_adjusted_prices_never_meet():
    other = replace(two(), symbols=("IBM",), basis="splits")
    with pytest.raises(InvalidBars, match="mixed adjusted and raw"):
        join([two(), other])
    with pytest.raises(InvalidBars, match="each once"):
        join([two(), two()])
    with pytest.raises(InvalidBars, match="once"):
        adjust_splits(other, {})


@pytest.mark.parametrize("ratio", [0.0, -2.0, np.nan, np.inf])
def test_a_split_by_nothing_is_refused(ratio):
    with pytest.raises(InvalidBars, match="split of"):
        adjust_splits(two(), {"AAPL": [(date(2000, 1, 1), ratio)]})


def test_the_table_escapes_names_and_shows_symbols_without_bars():
    hole = np.full((2, 1), np.nan)
    bars = Bars(("<b>",), CLOSES[:2], hole, hole, hole, hole, hole, "raw")
    assert "&lt;b&gt;" in bars._repr_html_() and "<b>" not in bars._repr_html_()
    assert "<svg" in join([bars, two()])._repr_html_()


@pytest.mark.parametrize("symbol", symbols_there())
def test_every_sample_loads_and_rests_on_its_checksum(symbol):
    bars = load([symbol])
    assert bars.basis == "splits" and not np.isnan(bars.close).any()
    for name, digest in checksums([symbol]).items():
        assert sha256((samples_folder() / name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("symbol", ["AAPL", "SPX", "EURUSD"])
def test_prices_are_read_to_the_last_digit(symbol):
    lines = (samples_folder() / f"{symbol}.csv").read_text().splitlines()[1:]
    exact = np.array([[float(text) for text in line.split(",")[1:6]] for line in lines])
    bars = bars_of(symbol)
    assert np.array_equal(np.hstack([getattr(bars, name) for name in COLUMNS]), exact)


def test_all_samples_share_one_clock():
    bars = load([*symbols_there()])
    assert bars.symbols == tuple(symbols_there())
    assert (~np.isnan(bars.close)).sum(axis=0).tolist() == [
        3270, 2264, 6225, 196, 2148, 3270, 3270, 5031,
    ]  # fmt: skip


def test_an_intraday_bar_keeps_its_close_and_a_day_gets_the_session_s():
    assert one_bar(load(["ES"]), 0, 0).at == datetime(2013, 9, 1, 22, 1, tzinfo=UTC)
    half_day = load(["SPX"], date(2018, 12, 24), date(2018, 12, 24))
    assert one_bar(half_day, 0, 0).at == datetime(2018, 12, 24, 18, tzinfo=UTC)


def test_apple_halves_in_raw_prices_and_not_in_adjusted_ones():
    weekend = date(2005, 2, 25), date(2005, 2, 28)
    raw = between(bars_of("AAPL"), *weekend).close[:, 0]
    used = load(["AAPL"], *weekend).close[:, 0]
    assert raw[1] / raw[0] == pytest.approx(0.504, abs=0.01)
    assert used[1] / used[0] == pytest.approx(2 * raw[1] / raw[0])


@pytest.mark.parametrize("name", ["FB.csv", "splits.csv"])
def test_a_damaged_copy_is_refused_with_both_digests_and_the_remedy(name, tmp_path, monkeypatch):
    folder = copytree(samples_folder(), tmp_path / "samples")
    monkeypatch.setattr(module, "SAMPLES", folder)
    whole = (folder / name).read_bytes()
    load(["FB"])
    (folder / name).write_bytes(whole + b"\n")
    with pytest.raises(InvalidData, match=r"rebuild\.py") as error:
        load(["FB"])
    for part in (name, sha256(whole).hexdigest(), sha256(whole + b"\n").hexdigest()):
        assert part in str(error.value)


def test_a_file_that_nobody_vouches_for_is_refused(tmp_path):
    (tmp_path / "SHA256SUMS").write_text("")
    (tmp_path / "AAPL.csv").write_text("date\n")
    with pytest.raises(InvalidData, match=r"AAPL\.csv"):
        checked(tmp_path / "AAPL.csv")
    with pytest.raises(UnavailableData, match=r"IBM\.csv"):
        checked(tmp_path / "IBM.csv")


def test_what_is_not_here_is_answered_with_what_is():
    with pytest.raises(UnavailableData, match=r"TSLA.*AAPL, ES"):
        load(["AAPL", "TSLA"])
    with pytest.raises(UnavailableData, match="2012-05-18 to 2013-03-01"):
        load(["FB"], last=date(2005, 12, 31))


def test_pandas_reads_the_clock():
    assert two().times.equals(
        pd.DatetimeIndex(["1990-01-02 21:00", "1990-01-03 21:00"], tz="UTC").as_unit("us")
    )


@pytest.mark.parametrize("unit", [1_000, 1_000_000])
def test_times_in_another_unit_are_refused_by_what_they_are(unit):
    bars = load(["AAPL"], date(2006, 1, 3), date(2006, 6, 1))
    for at in (bars.at // unit, bars.at * 1_000, np.array([-(2**63), 2**63 - 1])):
        n = len(at)
        columns = [getattr(bars, name)[:n] for name in COLUMNS]
        with pytest.raises(InvalidTime, match="in microseconds since 1970"):
            Bars(bars.symbols, at, *columns, "splits")


@pytest.mark.parametrize("symbols", ["AAPL", [], ()])
def test_symbols_come_in_a_list(symbols):
    with pytest.raises(UnavailableData, match="symbols come in a list"):
        load(symbols)


def test_splits_of_one_symbol_leave_the_others_alone():
    one, two = (load(symbols, last=date(2003, 3, 1)) for symbols in (["AAPL"], ["AAPL", "MSFT"]))
    assert to_frame(two, "AAPL").equals(to_frame(one, "AAPL"))


def test_adjusting_moves_every_column_alike():
    raw, day = load(["AAPL"], last=date(2005, 6, 1), basis="raw"), date(2005, 2, 28)
    cut = adjust_splits(raw, {"AAPL": [(day, 2.0)]})
    before = raw.times < pd.Timestamp(day, tz="UTC")
    for name in COLUMNS:
        step = 0.5 if name != "volume" else 2.0
        was, now = getattr(raw, name), getattr(cut, name)
        assert np.array_equal(now[before], was[before] * step)
        assert np.array_equal(now[~before], was[~before])


@pytest.mark.parametrize(
    "wrong", [{"dividend": -0.1}, {"dividend": np.inf}, {"ratio": np.inf}, {"ratio": 0.0}]
)
def test_an_action_is_finite_and_takes_nothing_away(wrong):
    with pytest.raises(InvalidBars, match="a ratio must be above zero and a dividend not below"):
        Action("AAPL", date(2020, 1, 2), **wrong)


HALF_HOUR = 30 * 60_000_000


def stamped(at):
    ones = np.full((len(at), 1), 10.0)
    return Bars(("AAPL",), at, ones, ones, ones, ones, ones, "raw")


def test_only_daily_bars_skip_sessions():
    daily = CLOSES[[0, 2, 3]]
    assert stamped(daily).skipped == (day(1),)
    assert stamped(CLOSES[:4]).skipped == ()
    assert stamped(np.sort([*daily, *daily - HALF_HOUR])).skipped == ()
    assert stamped(daily - HALF_HOUR).skipped == ()  # as few as days, and none at a close
