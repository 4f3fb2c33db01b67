"""What a folder of bars may hold, and what is said of one that holds anything else."""

from datetime import date
from hashlib import sha256

import numpy as np
import pandas as pd
import pytest

from argo_alpine.bars import COLUMNS, from_daily, from_frame, to_frame
from argo_alpine.domain import InvalidBars, InvalidData, UnavailableData
from argo_alpine.indicators import IndicatorPolicy, warm_up
from argo_alpine.loading import Action, first_day, load, splits_of
from argo_alpine.optimize import ground_of
from argo_alpine.samples import checksums, data_folder, samples_folder, symbols_in, symbols_there
from argo_alpine.stretches import course_of
from tests.core.test_bars import same
from tests.test_parity import a_market

MARKET = a_market(3, 80, ("A", "B"), 0.02, missing=0.0)
HEAD = "date,open,high,low,close,volume\n"
FIRST, SECOND = "2024-03-01,10,12,9,11,500\n", "2024-03-04,11,12,10,11,600\n"
AT = "at,open,high,low,close,volume\n"


def by_day(symbol):
    frame = to_frame(MARKET, symbol)
    return frame.set_axis(frame.index.tz_convert("America/New_York").date)


@pytest.fixture
def folder(tmp_path):
    """Two symbols of daily bars, written as pandas writes them."""
    place = tmp_path / "prices"
    place.mkdir()
    for symbol in MARKET.symbols:
        by_day(symbol).to_csv(place / f"{symbol}.csv", index_label="date")
    return place


def vouched(folder, *names):
    """A folder with the checksums of some of its files."""
    lines = [f"{sha256((folder / n).read_bytes()).hexdigest()} *{n}\n" for n in names]
    (folder / "SHA256SUMS").write_text("".join(lines))
    return folder


def test_a_folder_is_the_frames_it_was_written_from_to_the_last_bit(folder):
    for symbol in MARKET.symbols:
        written = load([symbol], basis="raw", folder=folder)
        assert same(written, from_daily(by_day(symbol), symbol, "raw"))
    assert same(load(["A", "B"], basis="raw", folder=str(folder)), MARKET)


def test_bars_within_a_day_come_back_as_they_were(tmp_path):
    index = pd.date_range("2024-03-01 14:31", periods=5, freq="min", tz="America/New_York")
    prices = np.random.default_rng(1).uniform(10, 20, 5) + 1 / 3
    frame = pd.DataFrame(dict.fromkeys(COLUMNS, prices), index)
    frame.to_csv(tmp_path / "A.csv", index_label="at")
    expected = from_frame(frame, "A", "raw")
    assert same(load(["A"], basis="raw", folder=tmp_path), expected)


def test_heads_may_be_large_lines_empty_and_columns_more(tmp_path):
    text = "\ufeffDate, Open,High,Low,CLOSE,Volume,Adj Close\n"
    text += "2024-03-01,10,12,9,11,500,5.5\n\n2024-03-04,11,12,10,11,600,\n\n"
    (tmp_path / "a.CSV").write_text(text)
    (tmp_path / ".B.csv").write_text("kept by an editor")
    (tmp_path / "notes.txt").write_text("not bars")
    assert symbols_there(tmp_path) == {"A": "a.CSV"}
    assert load(["A"], folder=tmp_path).close[:, 0].tolist() == [11.0, 11.0]


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("", InvalidData, "is no table"),
        (HEAD, InvalidData, "no row"),
        ("\x00\x01", InvalidData, "prices/X.csv"),
        ("date,open,close,volume\n2024-03-01,1,1,1\n", InvalidData, "no column high, low, only"),
        (
            "time,open,high,low,close,volume\n1,1,1,1,1,1\n",
            InvalidData,
            "no column date, only time",
        ),
        (HEAD.replace(",", ";"), InvalidData, "prices/X.csv is no table"),
        (HEAD + FIRST.strip() + ",7\n", InvalidData, "more fields than the header"),
        (HEAD + FIRST + SECOND.strip() + ",7\n", InvalidData, "in line 3, saw 7"),
        ("date,Open,open,high,low,close,volume\n2024-03-01,1,1,1,1,1,1\n", InvalidData, "one name"),
        (HEAD.replace("open", "close"), InvalidData, "two columns have one name among date, close"),
        (HEAD + FIRST + SECOND.replace("12", "abc"), InvalidData, "line 3, high: 'abc' is no numb"),
        (
            HEAD + FIRST + "\n" + SECOND.replace("12", ""),
            InvalidData,
            "line 4, high: '' is no numb",
        ),
        (HEAD + FIRST.replace("500", "nan"), InvalidData, "line 2, volume: 'nan' is no number"),
        (HEAD + FIRST.replace("500", "N/A"), InvalidData, "line 2, volume: 'N/A' is no number"),
        (HEAD + "2024-03-01,10,12,9\n", InvalidData, "line 2, close: '' is no number"),
        (HEAD + "01/03/2024,1,1,1,1,1\n", InvalidData, "line 2, date: '01/03/2024' is no day"),
        (HEAD + FIRST.replace("01,", "01 16:00,"), InvalidData, "is no day: write it as 2024-03"),
        (AT + "2024-03-01 16:00,1,1,1,1,1\n", InvalidData, "line 2, at: '2024-03-01 16:00' is no"),
        (AT + "2024-03-01,1,1,1,1,1\n", InvalidData, "write it as 2024-03-01T21:00:00Z"),
        (AT + "1709327460,1,1,1,1,1\n", InvalidData, "line 2, at: '1709327460' is no instant"),
        (AT + "2024-03-41T21:00Z,1,1,1,1,1\n", InvalidData, "is no instant with a zone"),
        (HEAD + SECOND + FIRST, InvalidBars, "line 3, date: '2024-03-01' does not come after"),
        (HEAD + FIRST + FIRST, InvalidBars, "sort the rows by time and keep one of each"),
        (
            HEAD + FIRST + "\n" + SECOND.replace(",12", ",8"),
            InvalidBars,
            "prices/X.csv, line 4, date: '2024-03-04': high is below low, was open 11, high 8,",
        ),
        (
            AT + "2024-03-01T21:00Z,1,1,1,1,1\n2024-03-04T21:00Z,1,1,0,1,1\n",
            InvalidBars,
            "line 3, at: '2024-03-04T21:00Z': a price is not a finite number above zero, was",
        ),
        (HEAD + FIRST.replace(",11", ",12.0004"), InvalidBars, "low 9, close 12.0004, volume 500"),
        (HEAD + FIRST.replace("500", "-1"), InvalidBars, "volume is not a finite number"),
        (HEAD + FIRST.replace("500", "inf"), InvalidBars, "volume is not a finite number"),
        (
            HEAD + FIRST.replace("03-01", "03-02"),
            InvalidData,
            "line 2, date: '2024-03-02' was no session of XNYS",
        ),
        ((HEAD + FIRST).replace(",", ";"), InvalidData, "parted by commas; at in place of date"),
        (
            "date;open;high;low;close;volume\n2024-03-01;10,5;12;9;11,5;500\n",
            InvalidData,
            "parted by commas, numbers such as 1234.5",
        ),
        (
            HEAD + FIRST.replace("500", '"1,500"'),
            InvalidData,
            "'1,500' is no number such as 1234.5",
        ),
        (
            HEAD + FIRST.replace("500", ""),
            InvalidData,
            "volume: '' is no number such as 1234.5: correct it, or write 0 where nobody knows it",
        ),
        ("date,open,high,low,close\n2024-03-01,1,1,1,1\n", InvalidData, "volume 0 where nobody"),
        (
            HEAD.replace("vol", "ticker,vol")
            + FIRST.replace("500", "A,5")
            + SECOND.replace("600", "B,6"),
            InvalidData,
            "line 3, ticker: 'B' follows 'A': a file is of one symbol",
        ),
        (
            "date,time,open,high,low,close,volume\n" + "2024-03-01,09:35,1,1,1,1,1\n" * 2,
            InvalidBars,
            "bars within a day go into a column `at`",
        ),
    ],
)
def test_what_is_no_file_of_bars_is_refused_by_file_place_and_value(folder, text, error, said):
    (folder / "X.csv").write_text(text)
    with pytest.raises(error) as refused:
        load(["X"], folder=folder)
    assert said in str(refused.value) and "prices/X.csv" in str(refused.value)
    assert str(folder) not in str(refused.value)
    assert load(["A"], folder=folder).symbols == ("A",)  # its neighbours are not to blame


def test_a_file_as_excel_writes_it_is_read(tmp_path):
    text = "\ufeff" + HEAD.upper() + FIRST + SECOND
    (tmp_path / "X.csv").write_bytes(text.replace("\n", "\r\n").encode())
    assert load(["X"], folder=tmp_path).close[:, 0].tolist() == [11.0, 11.0]


def test_a_column_that_says_one_symbol_all_the_way_is_no_objection(tmp_path):
    rows = FIRST.replace("500", "X,5") + SECOND.replace("600", "X,6")
    (tmp_path / "X.csv").write_text(HEAD.replace("vol", "Symbol,vol") + rows)
    assert len(load(["X"], folder=tmp_path)) == 2


def test_text_in_another_encoding_is_refused(folder):
    (folder / "X.csv").write_bytes(HEAD.encode("utf-16"))
    with pytest.raises(InvalidData, match=r"prices/X\.csv is no table"):
        load(["X"], folder=folder)


@pytest.mark.parametrize(
    "symbol", ["../secret/S", "..", "/etc/passwd", "A.csv", "./A", "a", "", "*"]
)
def test_a_symbol_never_leads_out_of_its_folder(folder, symbol):
    secret = folder.parent / "secret"
    secret.mkdir()
    (secret / "S.csv").write_text(HEAD + FIRST)
    for ask in (load, checksums):
        with pytest.raises(UnavailableData, match="in prices: there are A, B"):
            ask([symbol], folder=folder)


def test_a_folder_that_is_not_there_is_no_folder_or_is_empty_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    for name, said in (("none", "no folder"), ("file", "no folder"), ("", "no SYMBOL.csv in")):
        with pytest.raises(UnavailableData, match=said):
            load(["A"], folder=tmp_path / name)


def test_two_files_of_one_symbol_and_a_name_that_is_no_symbol_are_refused(folder):
    (folder / "a.csv").write_text(HEAD + FIRST)
    with pytest.raises(InvalidData, match="both of A: keep one"):
        symbols_there(folder)
    (folder / "a.csv").rename(folder / "a (1).csv")
    with pytest.raises(InvalidData, match="give the file another name"):
        symbols_there(folder)


def test_files_are_held_against_their_checksums_where_there_are_any(folder):
    as_they_are = checksums(["A", "B"], folder)
    assert [*as_they_are] == ["A.csv", "B.csv"]
    vouched(folder, "A.csv")
    assert checksums(["A"], folder) == {"A.csv": as_they_are["A.csv"]}
    with pytest.raises(InvalidData, match=r"B\.csv is damaged: SHA256SUMS expects nothing by this"):
        load(["B"], folder=folder)
    (folder / "A.csv").write_text((folder / "A.csv").read_text() + "\n")
    with pytest.raises(InvalidData, match=r"A\.csv is damaged.*sha256sum \*\.csv > SHA256SUMS"):
        load(["A"], folder=folder)


def test_samples_without_checksums_are_no_samples(tmp_path, monkeypatch):
    from argo_alpine import samples

    (tmp_path / "FB.csv").write_bytes((samples_folder() / "FB.csv").read_bytes())
    assert load(["FB"], folder=tmp_path).symbols == ("FB",)
    monkeypatch.setattr(samples, "SAMPLES", tmp_path)
    with pytest.raises(UnavailableData, match=r"no file .*SHA256SUMS: .*rebuild\.py"):
        load(["FB"])


def split_at(folder, ratio):
    """The first symbol's prices as they were paid, and the day from which on in new shares."""
    frame = by_day("A")
    frame.loc[frame.index[40:], list(COLUMNS[:4])] /= ratio
    frame.to_csv(folder / "A.csv", index_label="date")
    return date.fromisoformat(str(frame.index[40]))


@pytest.mark.parametrize("wrong", ["adjusted already", "a day early", "the ratio upside down"])
def test_a_split_that_the_prices_did_not_make_is_refused(folder, wrong):
    day, ratio = split_at(folder, 1.0 if wrong == "adjusted already" else 2.0), 2.0
    if wrong == "a day early":
        day = date.fromisoformat(str(by_day("A").index[39]))
    if wrong == "the ratio upside down":
        ratio = 0.5
    (folder / "splits.csv").write_text(f"symbol,date,ratio\nA,{day},{ratio}\n")
    for basis in ("splits", "raw"):
        with pytest.raises(InvalidData, match=rf"prices/splits\.csv: A was split .* on {day}"):
            load(["A"], basis=basis, folder=folder)
    assert load(["B"], folder=folder).symbols == ("B",)


@pytest.mark.parametrize("name", ["SPLITS.CSV", "Splits.csv"])
def test_splits_by_another_name_are_not_passed_over(folder, name):
    (folder / name).write_text("symbol,date,ratio\nA,2024-03-01,2\n")
    with pytest.raises(InvalidData, match=r"must be called splits\.csv: rename it"):
        load(["A"], folder=folder)


@pytest.mark.parametrize("name", ["C.csv", "splits.csv", "SHA256SUMS"])
@pytest.mark.parametrize("what", ["folder", "link to nothing"])
def test_what_is_no_file_is_not_passed_over(folder, name, what):
    if what == "folder":
        (folder / name).mkdir()
    else:
        (folder / name).symlink_to(folder / "gone")
    with pytest.raises(InvalidData, match=rf"prices/{name} is no file"):
        load(["A"], folder=folder)


def test_a_file_that_checksums_list_and_that_is_gone_is_missed(folder):
    vouched(folder, "A.csv", "B.csv")
    (folder / "B.csv").unlink()
    with pytest.raises(UnavailableData, match=r"no file prices/B\.csv, which SHA256SUMS lists"):
        symbols_there(folder)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "Europe/Paris", "America/New_York"])
def test_days_at_the_midnights_of_a_zone_are_no_closes(tmp_path, zone):
    days = pd.bdate_range("2024-03-04", periods=10, tz=zone)
    frame = pd.DataFrame({name: np.full(10, 5.0) for name in COLUMNS}, days)
    frame.to_csv(tmp_path / "A.csv", index_label="at")
    with pytest.raises(InvalidData, match="is a day and no close"):
        load(["A"], folder=tmp_path)
    always = frame.set_axis(pd.date_range("2024-03-04", periods=10, tz=zone))
    always.to_csv(tmp_path / "A.csv", index_label="at")  # a market that never closes
    assert len(load(["A"], folder=tmp_path)) == 10


def test_a_home_that_nobody_has_is_no_folder():
    with pytest.raises(UnavailableData, match="no folder ~nobody-of-that-name/prices"):
        data_folder("~nobody-of-that-name/prices")


def test_splits_are_read_from_the_folder_and_its_prices_adjusted(folder):
    day = split_at(folder, 2.0)
    (folder / "splits.csv").write_text(f"Symbol,Date,Ratio\na,{day},2\nNA,{day},3\n")
    assert splits_of(["A", "B"], folder) == (Action("A", day, 2.0),)
    raw, adjusted = (load(["A", "B"], basis=b, folder=folder) for b in ("raw", "splits"))
    assert np.array_equal(adjusted.close[:40, 0] * 2, raw.close[:40, 0])
    assert np.array_equal(adjusted.close[:, 1], raw.close[:, 1])
    assert [*checksums(["B"], folder)] == ["B.csv", "splits.csv"]


@pytest.mark.parametrize(
    ("rows", "error", "said"),
    [
        ("symbol,date\nA,2024-03-01\n", InvalidData, "has no column ratio"),
        ("symbol,date,ratio\nA,2024-03-01,2:1\n", InvalidData, "line 2, ratio: '2:1' is no number"),
        ("symbol,date,ratio\nA,March,2\n", InvalidData, "line 2, date: 'March' is no day"),
        ("symbol,date,ratio\nA,2024-03-01,0\n", InvalidData, "line 2, ratio: '0' is no number"),
        ("symbol,date,ratio\nA,2024-03-01,inf\n", InvalidData, "line 2, ratio: 'inf' is no num"),
        ("symbol,date,ratio\n,2024-03-01,2\n", InvalidData, "line 2, symbol: '' is no symbol"),
        ("symbol,date,ratio\na,2024-03-01,2\nA,2024-3-1,2\n", InvalidData, "line 3, symbol: 'A'"),
        (
            "symbol,date,ratio\n" + "A,2024-03-01,2\n" * 2,
            InvalidData,
            "line 3, symbol: 'A' is split",
        ),
        ("symbol,date,ratio\n", InvalidData, "prices/splits.csv is no table"),
    ],
)
def test_splits_that_cannot_be_meant_are_refused(folder, rows, error, said):
    (folder / "splits.csv").write_text(rows)
    with pytest.raises(error) as refused:
        load(["A"], folder=folder)
    assert said in str(refused.value)


def test_splits_that_were_lost_are_missed(folder):
    (folder / "splits.csv").write_text("symbol,date,ratio\nB,2024-03-01,2\n")
    vouched(folder, "A.csv", "splits.csv")
    (folder / "splits.csv").unlink()
    with pytest.raises(UnavailableData, match=r"no file prices/splits\.csv"):
        load(["A"], folder=folder)


def test_the_samples_are_a_folder_like_any_other(tmp_path):
    named = load(["AAPL", "FB"], folder=samples_folder())
    assert same(named, load(["AAPL", "FB"]))
    assert checksums(["AAPL"], samples_folder()) == checksums(["AAPL"])
    assert data_folder(samples_folder() / ".." / "samples") == samples_folder()


def test_the_first_day_is_the_first_that_begins_warm(folder):
    needed = warm_up(IndicatorPolicy())
    market = load(["A", "B"], folder=folder)
    assert first_day(market, needed) == by_day("A").index[needed]
    late = by_day("B").iloc[30:]
    late.to_csv(folder / "B.csv", index_label="date")
    assert first_day(load(["A", "B"], folder=folder), needed) == by_day("A").index[needed]
    with pytest.raises(UnavailableData, match=r"no day has 50 bars before it.*there are B 50;"):
        first_day(load(["B"], folder=folder), needed)


def test_trials_are_told_apart_by_what_is_in_a_folder_and_not_by_its_name(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    text = (folder / "A.csv").read_text()
    (other / "A.csv").write_text(text)
    ground, copy = (ground_of(course_of(load(["A"], folder=f))) for f in (folder, other))
    assert ground == copy
    changed = by_day("A")
    changed.loc[changed.index[-1], "volume"] += 1
    changed.to_csv(other / "A.csv", index_label="date")
    assert ground_of(course_of(load(["A"], folder=other)))["data"] != ground["data"]


def test_symbols_of_a_list_are_those_of_files():
    assert symbols_in("btc-usd, brk.b ^gspc eurusd=x") == ["BTC-USD", "BRK.B", "^GSPC", "EURUSD=X"]
