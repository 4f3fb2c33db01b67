"""Massive: bars that are complete and quotes as old as they are."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from argo_alpine.domain import UnavailableSource
from services.argo.ports import Harvest
from services.argo.sources.massive import Massive
from services.argo.sources.web import Partly
from tests.sources_stage import (
    AT,
    CLOSE,
    DAYS,
    KEY,
    Counts,
    Said,
    Ticks,
    aggregates,
    bar_row,
    fixture,
    later,
    massive_vendor,
    nanoseconds,
    serving,
    snapshot,
)

EPOCH = date(2024, 2, 28)


@pytest.fixture
def vendor():
    with serving() as vendor:
        vendor.answer = massive_vendor
        yield vendor


def source(vendor, symbols=("AAPL", "IBM"), **options):
    told = {"epoch": EPOCH, "meter": Counts(), "monotonic": Ticks(), **options}
    return Massive(base_url=vendor.base, key=KEY, symbols=symbols, **told)


def bars_said(vendor, body, symbols=("AAPL",)):
    """Good quotes, and this instead of bars."""
    vendor.answer = lambda asked: (
        Said(snapshot(*symbols)) if "snapshot" in asked.path else Said(body)
    )


def test_the_first_fetch_brings_the_whole_history_and_one_snapshot(vendor):
    massive = source(vendor)
    harvest = massive.fetch(AT)
    assert [(b.symbol, f"{b.at:%Y-%m-%d %H:%M}") for b in harvest.bars] == [
        (symbol, f"{day} 21:00") for symbol in ("AAPL", "IBM") for day in DAYS
    ]
    assert [(q.symbol, q.at, q.price) for q in harvest.quotes] == [
        ("AAPL", CLOSE, 101.5),
        ("IBM", CLOSE, 101.5),
    ]
    assert harvest.readings == ()
    assert len(vendor.asked) == 3
    assert massive.meter.used("massive", AT.date()) == (3, 0.0)


def test_quotes_are_due_every_four_seconds_of_market_time_and_after_every_jump(vendor):
    massive = source(vendor)
    assert massive.due(AT)
    massive.fetch(AT)
    assert not massive.due(later(seconds=3.9))
    assert massive.due(later(seconds=4))
    assert massive.due(later(days=3))
    assert massive.due(later(seconds=-1))


def test_later_only_the_missing_days_are_asked_for_and_the_last_that_is_known(vendor):
    thursday = datetime(2024, 2, 29, 22, tzinfo=UTC)
    shots = snapshot("AAPL", at=thursday)
    vendor.answer = lambda a: Said(shots) if "snapshot" in a.path else massive_vendor(a)
    massive = source(vendor, ["AAPL"])
    assert len(massive.fetch(thursday).bars) == 2
    assert massive.fetch(thursday + timedelta(hours=12)).bars == ()
    known, bar = massive.fetch(AT).bars
    assert (known.at.date(), bar.at) == (thursday.date(), CLOSE)
    ranges = [a.path.rsplit("/", 2)[1:] for a in vendor.asked if "aggs" in a.path]
    assert ranges == [["2024-02-28", "2024-02-29"], ["2024-02-29", "2024-03-01"]]


def test_a_bar_whose_session_has_not_closed_is_not_delivered(vendor):
    bars_said(vendor, aggregates("AAPL"))  # the vendor also sends the day in progress
    before = CLOSE - timedelta(seconds=1)
    quoted = Said(snapshot("AAPL", at=before))
    inner = vendor.answer
    vendor.answer = lambda asked: quoted if "snapshot" in asked.path else inner(asked)
    assert [b.at.day for b in source(vendor, ["AAPL"]).fetch(before).bars] == [28, 29]
    assert [b.at.day for b in source(vendor, ["AAPL"]).fetch(CLOSE).bars] == [28, 29, 1]


def test_bars_of_half_days_and_of_summer_are_stamped_at_their_own_close(vendor):
    stamps = {date(2024, 7, 3): "17:00", date(2024, 7, 5): "20:00"}
    rows = [
        bar_row(str(day)) | {"t": int(datetime(day.year, day.month, day.day, 4, tzinfo=UTC)
                                      .timestamp() * 1000)}
        for day in stamps
    ]  # fmt: skip
    bars_said(vendor, aggregates("AAPL", ()) | {"results": rows, "resultsCount": 2})
    massive = source(vendor, ["AAPL"], epoch=date(2024, 7, 3))
    found = massive.fetch(datetime(2024, 7, 6, tzinfo=UTC)).bars
    assert [f"{bar.at:%H:%M}" for bar in found] == [*stamps.values()]


def test_a_symbol_without_a_trade_has_no_quote(vendor):
    shots = snapshot("AAPL", "IBM")
    shots["tickers"][0]["lastTrade"] = None
    shots["tickers"].append({"ticker": "MSFT"})
    vendor.answer = lambda a: Said(shots) if "snapshot" in a.path else massive_vendor(a)
    harvest = source(vendor, ["AAPL", "IBM", "MSFT"]).fetch(AT)
    assert [q.symbol for q in harvest.quotes] == ["IBM"]


def test_a_delayed_quote_keeps_its_own_time(vendor):
    shots = snapshot("AAPL", at=AT - timedelta(minutes=15)) | {"status": "DELAYED"}
    vendor.answer = lambda a: Said(shots) if "snapshot" in a.path else massive_vendor(a)
    (quote,) = source(vendor, ["AAPL"]).fetch(AT).quotes
    assert quote.at == AT - timedelta(minutes=15)
    massive = source(vendor, ["AAPL"])
    massive.fetch(AT)
    frozen = massive.fetch(later(days=2)).quotes  # nothing moves: nothing looks fresh
    assert frozen == (quote,)


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_units_of_time_are_told_by_size(vendor, unit):
    shots = snapshot("AAPL")
    shots["tickers"][0]["lastTrade"]["t"] = int(CLOSE.timestamp()) * unit
    vendor.answer = lambda a: Said(shots) if "snapshot" in a.path else massive_vendor(a)
    assert source(vendor, ["AAPL"]).fetch(AT).quotes[0].at == CLOSE


def test_volume_may_be_fractional_or_scientific_and_counts_may_be_absent(vendor):
    row = json.dumps(bar_row(DAYS[0])).replace("1500000.0", "6.42646396e+08")
    first = {k: v for k, v in json.loads(row).items() if k not in ("n", "vw")}
    rows = [first, bar_row(DAYS[1]) | {"v": 12.75}]
    bars_said(vendor, aggregates("AAPL", ()) | {"results": rows, "resultsCount": 2})
    harvest = source(vendor, ["AAPL"]).fetch(AT)
    assert [bar.volume for bar in harvest.bars] == [642646396.0, 12.75]


def paged(vendor, last):
    """Three pages, the last as told."""
    pages = {
        "": aggregates("AAPL", DAYS[:1], next_url=f"{vendor.base}/v2/more?cursor=2"),
        "2": aggregates("AAPL", DAYS[1:2], next_url=f"{vendor.base}/v2/more?cursor=3"),
        "3": last,
    }
    vendor.answer = lambda a: (
        Said(snapshot("AAPL")) if "snapshot" in a.path else Said(pages[a.query.get("cursor", "")])
    )


def test_pages_are_followed_with_the_key_to_the_end(vendor):
    paged(vendor, aggregates("AAPL", DAYS[2:]))
    assert len(source(vendor, ["AAPL"]).fetch(AT).bars) == 3
    assert all(a.headers["authorization"] == f"Bearer {KEY}" for a in vendor.asked)


def test_an_empty_last_page_ends_the_history(vendor):
    paged(vendor, {})
    assert len(source(vendor, ["AAPL"]).fetch(AT).bars) == 2


@pytest.mark.parametrize(
    "last",
    [
        aggregates("IBM", DAYS[2:]),
        aggregates("AAPL", DAYS[:1]),  # from the beginning again
        aggregates("AAPL", DAYS[2:], next_url="http://evil.example/v2/more?cursor=3"),
        aggregates("AAPL", (), next_url="self"),
        [],
    ],
)
def test_one_bad_page_spoils_the_whole_history(vendor, last):
    if isinstance(last, dict) and last.get("next_url") == "self":
        last = {**last, "next_url": f"{vendor.base}/v2/more?cursor=3"}  # without end
    paged(vendor, last)
    with pytest.raises(Partly) as caught:
        source(vendor, ["AAPL"]).fetch(AT)
    assert caught.value.harvest.bars == ()
    assert len(vendor.asked) < 30


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"c": -1}, "AAPL on 2024-03-01: c must be above zero"),
        ({"o": 0}, "AAPL on 2024-03-01: o must be above zero"),
        ({"h": 1e308}, "AAPL on 2024-03-01: h must be above zero and at most"),
        ({"h": 90}, "high is below low"),
        ({"c": 110}, "open or close lies outside"),
        ({"v": -5}, "AAPL on 2024-03-01: v must lie between"),
        ({"v": "many"}, "AAPL on 2024-03-01: v must be a number"),
        ({"c": None}, "AAPL on 2024-03-01: c must be a number"),
        ({"h": True}, "AAPL on 2024-03-01: h must be a number"),
        ({"t": 0}, "AAPL: t must be a time"),
        ({"t": 10**30}, "AAPL: t must be a time"),
        ({"t": bar_row("2024-03-02")["t"]}, "no session on 2024-03-02"),
        ({"t": bar_row("2024-02-20")["t"]}, "asked from 2024-02-28, got a bar of 2024-02-20"),
        ({"t": bar_row("2024-02-29")["t"]}, "2024-02-29 follows 2024-02-29"),
    ],
)
def test_a_row_no_market_made_rejects_the_reply_by_name(vendor, change, words):
    rows = [*(bar_row(day) for day in DAYS[:2]), bar_row(DAYS[2]) | change]
    bars_said(vendor, aggregates("AAPL") | {"results": rows})
    with pytest.raises(Partly, match="Massive: GET /v2/aggs/ticker/AAPL") as caught:
        source(vendor, ["AAPL"], epoch=date(2024, 2, 28)).fetch(AT)
    assert words in str(caught.value)
    assert caught.value.harvest.bars == ()
    assert caught.value.harvest.quotes  # one bad row does not blind us to the market


@pytest.mark.parametrize(
    "trade",
    [
        {"p": 0, "t": nanoseconds(CLOSE)},
        {"p": -3.0, "t": nanoseconds(CLOSE)},
        {"p": "101", "t": nanoseconds(CLOSE)},
        {"p": 1e999, "t": nanoseconds(CLOSE)},
        {"p": True, "t": nanoseconds(CLOSE)},
        {"p": 101.0},
        {"p": 101.0, "t": "soon"},
        {"p": 101.0, "t": nanoseconds(AT + timedelta(minutes=5))},
        [101.0],
        "101",
    ],
)
def test_a_trade_that_cannot_be_is_no_quote(vendor, trade):
    shots = json.dumps(snapshot("AAPL")).encode()
    old = json.dumps(snapshot("AAPL")["tickers"][0]["lastTrade"]).encode()
    vendor.answer = lambda a: (
        Said(shots.replace(old, json.dumps(trade).replace("Infinity", "1e999").encode()))
        if "snapshot" in a.path
        else massive_vendor(a)
    )
    with pytest.raises(Partly) as caught:
        source(vendor, ["AAPL"]).fetch(AT)
    assert caught.value.harvest.quotes == ()
    assert len(caught.value.harvest.bars) == 3


def test_one_symbol_that_fails_does_not_hold_up_the_others_and_is_asked_again(vendor):
    broken = {"is": True}

    def answer(asked):
        if "/AAPL/" in asked.path and broken["is"]:
            return Said({"status": "ERROR", "error": "oops"}, 404)
        return massive_vendor(asked)

    vendor.answer, ticks = answer, Ticks()
    massive = source(vendor, monotonic=ticks)
    with pytest.raises(Partly, match="HTTP 404") as caught:
        massive.fetch(AT)
    assert {bar.symbol for bar in caught.value.harvest.bars} == {"IBM"}
    assert massive.fetch(later(seconds=5)).bars == ()  # not at once again
    broken["is"] = False
    ticks.now += 5
    assert {bar.symbol for bar in massive.fetch(later(seconds=10)).bars} == {"AAPL"}


def test_a_vendor_that_is_down_is_asked_once_a_fetch(vendor):
    vendor.says(b"<html>bad gateway</html>", 502)
    with pytest.raises(UnavailableSource, match="HTTP 502"):
        source(vendor).fetch(AT)
    assert len(vendor.asked) == 1


def test_a_bar_that_is_late_is_asked_for_ever_more_rarely(vendor):
    vendor.answer = lambda a: (
        massive_vendor(a) if "snapshot" in a.path else Said(aggregates("AAPL", DAYS[:2]))
    )
    ticks = Ticks()
    massive = source(vendor, ["AAPL"], monotonic=ticks)
    assert len(massive.fetch(AT).bars) == 2
    vendor.answer = lambda a: (
        massive_vendor(a) if "snapshot" in a.path else Said(aggregates("AAPL", ()))
    )
    for second in range(600):
        ticks.now += 1
        if massive.due(later(seconds=second + 1)):
            massive.fetch(later(seconds=second + 1))
    assert 5 <= sum("aggs" in a.path for a in vendor.asked) <= 10


def test_a_recorded_page_is_read(vendor):
    bars_said(vendor, fixture("massive", "aggs_day_AAPL"))
    massive = source(vendor, ["AAPL"], epoch=date(2005, 4, 1))
    shots = snapshot("AAPL", at=datetime(2005, 4, 4, 21, tzinfo=UTC))
    inner = vendor.answer
    vendor.answer = lambda a: Said(shots) if "snapshot" in a.path else inner(a)
    harvest = massive.fetch(datetime(2005, 4, 4, 21, tzinfo=UTC))
    assert [(f"{b.at:%m-%d %H:%M}", b.close) for b in harvest.bars] == [
        ("04-01 21:00", 1.4604),
        ("04-04 20:00", 1.4675),
    ]


@pytest.mark.parametrize("name", ["snapshot_all_tickers", "spec_snapshot_all"])
def test_a_recorded_snapshot_is_read(vendor, name):
    body = fixture("massive", name)
    vendor.answer = lambda a: Said(body) if "snapshot" in a.path else Said(aggregates("BCAT", ()))
    at = datetime(2020, 11, 12, 15, tzinfo=UTC)
    (quote,) = source(vendor, ["BCAT"]).fetch(at).quotes
    assert (quote.price, f"{quote.at:%Y-%m-%d %H:%M:%S}") == (20.506, "2020-11-12 14:54:54")


@pytest.mark.parametrize(
    ("name", "status"),
    [("error_401_unknown_key", 401), ("error_403_timeframe", 403), ("error_429_rate_limit", 429)],
)
def test_a_recorded_error_brings_nothing(vendor, name, status):
    body = fixture("massive", name)
    vendor.says(body, status)
    with pytest.raises(UnavailableSource, match=f"HTTP {status} \\w+") as caught:
        source(vendor).fetch(AT)
    assert getattr(caught.value, "harvest", Harvest()) == Harvest()
