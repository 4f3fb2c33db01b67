"""What X and Sonar said, from a file: read exactly, or refused with its line."""

import re
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from argo_alpine.backtest import backtest
from argo_alpine.domain import InvalidData, Reading, UnavailableData
from argo_alpine.engine import Policy
from argo_alpine.readings import readings_of, strangers, strangers_in_words
from argo_alpine.samples import checksums, symbols_there
from tests.rehearsal import rehearse
from tests.test_parity import QUICK, a_market, differences

TOLD = """symbol,source,at,expires,score,authors,news,direction,confidence
aapl, Sonar ,2012-03-01T20:30:00Z,2012-03-02T21:00:00Z,,,,1,80
AAPL,x_sentiment,2012-03-01T15:10:00-05:00,2012-03-02T02:10:00Z,0.62,31,,,
MSFT,x_sentiment,2012-03-01T20:10:00.5Z,2012-03-02T02:10:00Z,-0.2,4,-0.5,,
"""


HEAD = "symbol,source,at,expires,direction,confidence\n"


@pytest.fixture
def told(tmp_path):
    """What some symbols have in a folder with this file."""

    def of(text, symbols=("AAPL", "MSFT")):
        (tmp_path / "readings.csv").write_text(text)
        return readings_of(symbols, tmp_path)

    return of


def test_readings_are_those_of_the_symbols_in_the_order_they_were_known(told):
    first, second = told(TOLD, ["AAPL"])
    assert first == Reading(
        "x_sentiment", "AAPL", datetime(2012, 3, 1, 20, 10, tzinfo=UTC),
        datetime(2012, 3, 2, 2, 10, tzinfo=UTC), {"score": 0.62, "authors": 31.0},
    )  # fmt: skip
    assert (second.source, second.values) == ("sonar", {"direction": 1.0, "confidence": 80.0})
    assert told(TOLD, ["MSFT"])[0].values == {"score": -0.2, "authors": 4.0, "news": -0.5}
    assert told(TOLD, ["IBM"]) == ()


def test_a_source_that_is_not_there_needs_no_columns(told):
    head = "symbol,source,at,expires,direction,confidence\n"
    assert told(head + "A,sonar,2012-03-01T20:30Z,2012-03-02T21:00Z,-1,50\n", ["A"])


def test_a_folder_without_the_file_has_none_and_one_that_lost_it_says_so(tmp_path):
    assert readings_of(["AAPL"], tmp_path) == ()
    (tmp_path / "SHA256SUMS").write_text(f"{sha256(b'').hexdigest()}  readings.csv\n")
    with pytest.raises(UnavailableData, match=r"no file .*/readings\.csv"):
        readings_of(["AAPL"], tmp_path)


@pytest.mark.parametrize(
    ("right", "wrong", "why"),
    [
        ("0.62,31", "0.62,", "line 3, authors: '' is no number"),
        ("0.62,31", "7,31", "line 3, score: '7.0' must lie between -1 and 1: correct it"),
        ("0.62,31", "0.62,inf", "line 3, authors: 'inf' must lie between 0 and inf"),
        ("-0.5,", "-5,", "line 4, news: '-5.0' must lie between -1 and 1: correct it"),
        ("1,80", "1,eighty", "line 2, confidence: 'eighty' is no number"),
        ("1,80", "1,180", "line 2, confidence: '180.0' must lie between 0 and 100"),
        (" Sonar ", "massive", "'massive' is none of x_sentiment, sonar: the other sources are"),
        (" Sonar ", "", "line 2, source: '' is none of"),
        ("aapl,", " ,", "line 2, symbol: '' is no symbol: name it"),
        ("aapl,", "<b>\x1b[31mZ,", r"line 2, symbol: '<b>\x1b[31mZ' is no symbol: letters, digits"),
        ("2012-03-01T20:30:00Z", "2012-03-01", "at: '2012-03-01' is no instant with a zone"),
        ("2012-03-02T21:00:00Z", "2012-03-02T21:00:00", "expires: '2012-03-02T21:00:00' is"),
        ("2012-03-02T21:00:00Z", "2012-03-01T20:30:00Z", "does not come after `at`: correct it"),
        ("MSFT", "AAPL", None),  # half a second later is another moment
        ("MSFT,x_sentiment,2012-03-01T20:10:00.5Z", "AAPL,x_sentiment,2012-03-01T20:10:00Z",
         "line 4, at: '2012-03-01 20:10:00+00:00' is there twice"),
        (",score", ",mood", "has no column score, only"),
        (",expires", ",until", "has no column expires, only"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_line_column_and_value(told, right, wrong, why):
    assert right in TOLD
    if why is None:
        assert len(told(TOLD.replace(right, wrong))) == 3
        return
    with pytest.raises(InvalidData, match=re.escape(why)):
        told(TOLD.replace(right, wrong, 1))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_line_is_that_of_the_file_also_after_a_cell_of_several(tmp_path, end):
    note = '"first\n\nthird"'
    rows = TOLD.replace(",confidence", ",confidence,note").replace("1,80", f"1,80,{note}")
    (tmp_path / "readings.csv").write_bytes(rows.replace("31,", "-1,").replace("\n", end).encode())
    with pytest.raises(InvalidData, match=r"line 5, authors: '-1\.0' must lie"):
        readings_of(["AAPL"], tmp_path)


@pytest.mark.parametrize("row", ["True,True", "true,80", "1,TRUE"])
def test_true_and_false_are_no_numbers(told, row):
    with pytest.raises(InvalidData, match=r"line 2, .*'True' is no number such as"):
        told(HEAD + f"AAPL,sonar,2012-03-01T20:30:00Z,2012-03-02T21:00:00Z,{row}\n")


def test_rows_about_symbols_without_bars_are_counted_by_symbol(tmp_path):
    assert strangers(tmp_path) == {}
    (tmp_path / "MSFT.csv").touch()
    (tmp_path / "readings.csv").write_text(TOLD)
    assert strangers(tmp_path) == {"AAPL": 2}
    assert strangers_in_words({}) == ""
    many = strangers_in_words(dict.fromkeys("ABCDEFG", 1_000))
    assert many.startswith("In readings.csv 7,000 rows are of A, B, C, D, E and 2 others, of which")


def test_the_file_is_none_of_bars_and_its_digest_stands_in_results(tmp_path):
    (tmp_path / "A.csv").write_text("date,open,high,low,close,volume\n2024-03-01,5,5,5,5,1\n")
    (tmp_path / "readings.csv").write_text(TOLD)
    assert [*symbols_there(tmp_path)] == ["A"]
    assert [*checksums(["A"], tmp_path)] == ["A.csv", "readings.csv"]


def test_both_loops_hear_a_file_alike(told):
    bars = a_market(3, 60, ("AAPL", "MSFT"), 0.02)
    moments = [bars.times[t].isoformat() for t in range(0, 58, 3)]
    later = [bars.times[t + 2].isoformat() for t in range(0, 58, 3)]
    head = "symbol,source,at,expires,direction,confidence\n"
    rows = [
        f"AAPL,sonar,{a},{b},{1 - 2 * (i % 2)},90\n"
        for i, (a, b) in enumerate(zip(moments, later, strict=True))
    ]
    readings = told(head + "".join(rows))
    policy = Policy(indicators=QUICK)
    run = backtest(bars, policy, readings=readings, keep_log=True)
    assert run.coverage.voted["sonar"] > 10
    assert differences(run, *rehearse(bars, policy, run.costs, readings, 100_000.0)) == []
