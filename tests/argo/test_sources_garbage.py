"""Whatever a vendor sends: no reading, no quote, no bar, and a typed error that tells no key."""

import copy
import gzip
import json
import resource
from datetime import date

import pytest

from argo_alpine.domain import UnavailableSource
from services.argo.ports import Harvest
from services.argo.sources.alpha_vantage import AlphaVantage
from services.argo.sources.massive import Massive
from services.argo.sources.sonar import Sonar
from services.argo.sources.web import Partly
from services.argo.sources.x_sentiment import XSentiment
from tests.sources_stage import (
    AT,
    KEY,
    Counts,
    Said,
    Ticks,
    aggregates,
    answer,
    indicator,
    page,
    post,
    serving,
    snapshot,
)

DAILY = {"function": "TIME_SERIES_DAILY", "symbol": "AAPL"}
GOOD = {
    "massive": {**aggregates("AAPL"), **snapshot("AAPL")},  # both questions in one
    "alpha_vantage": indicator(DAILY),
    "x_sentiment": page(post(12, "$AAPL is bullish")),
    "sonar": answer(),
}


def source(name, base):
    told = {"base_url": base, "key": KEY, "symbols": ["AAPL"], "meter": Counts()}
    told["monotonic"] = Ticks()
    if name == "massive":
        return Massive(epoch=date(2024, 2, 28), **told)
    return {"alpha_vantage": AlphaVantage, "x_sentiment": XSentiment, "sonar": Sonar}[name](**told)


def harvest(name, base):
    """What came, and what was raised."""
    try:
        return source(name, base).fetch(AT), None
    except Partly as error:
        return error.harvest, error
    except UnavailableSource as error:
        return Harvest(), error


ODD = [
    None, True, False, 0, -1, -0.0, 17, 1e308, 10**40, "", " ", "abc", "NaN", "Infinity", "-inf",
    "1e999", "None", "-", [], {}, [[]], [None], [{}], {"a": 1}, {"data": None}, "\u202e\x00",
]  # fmt: skip


def leaves(value, path=()):
    """Every place in a reply."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from leaves(value[key], (*path, key))


def changed(reply, path, value):
    """The reply with something else in one place."""
    if not path:
        return value
    other = copy.deepcopy(reply)
    spot = other
    for key in path[:-1]:
        spot = spot[key]
    spot[path[-1]] = value
    return other


def raw_bodies(good):
    """Things that are not the JSON anybody expects."""
    text = json.dumps(good).encode()
    yield from (text[: len(text) * i // 100] for i in range(100))
    yield from (json.dumps(odd).encode() for odd in ODD)
    yield from (b"<!doctype html><title>Sign in</title>", b"<html></html>", b"OK", b"null null")
    yield from (b"\xff\xfe\x00", b"\x1f\x8b\x08", b"\x00" * 1000, text + b"}", text + text)
    yield from (text.replace(b":", b"="), text.replace(b'"', b"'"), b"// " + text, b"[" + text)
    yield from (b"[" * 50_000, b'{"a":' * 50_000, b"[" * 500 + b"]" * 500, b'"' + b"a" * 5_000_000)
    yield from (text[:-1] + b',"status":"OK","status":"OK","meta":{},"meta":{}}', b"NaN", b"1e999")
    errors = ("error", "errors", "message", "Note", "Information", "Error Message", "detail")
    yield from (json.dumps({name: f"bad {KEY}"}).encode() for name in errors)
    yield from (json.dumps({"status": s}).encode() for s in ("OK", "ERROR", "DELAYED", "completed"))
    yield from (json.dumps({"results": v, "data": v, "output": v}).encode() for v in ODD)
    yield from (json.dumps([good] * n).encode() for n in (1, 2, 3))
    yield from (json.dumps({"data": good, "message": "sample"}).encode(), gzip.compress(text))
    yield from (json.dumps(value).encode() for value in GOOD.values() if value is not good)
    yield from (text.replace(b"AAPL", other) for other in (b"IBM", b"", b"AAPLX", b"$AAPL"))
    for digit in (b"x", b"--", b"e", b"1e", b".", b'"', b"{", b"NaN", b"Infinity", b"-Infinity"):
        yield text.replace(b"0", digit)
        yield text.replace(b": 1", b": " + digit)


def is_tolerable(name, body):
    """The few of these that say something true: an empty page, or a post about somebody else."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return name == "x_sentiment" and isinstance(said, dict) and "meta" in said and "data" in said


@pytest.mark.parametrize("name", GOOD)
def test_garbage_brings_nothing_but_a_typed_error(name):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    good = json.dumps(GOOD[name]).encode()
    bodies, errors = [body for body in raw_bodies(GOOD[name]) if body != good], 0
    with serving() as vendor:
        for body in bodies:
            vendor.says(body)
            found, error = harvest(name, vendor.base)
            assert found == Harvest(), body[:200]
            if error is None:
                assert is_tolerable(name, body), body[:200]
                continue
            errors += 1
            assert KEY not in str(error)
            assert source(name, vendor.base).web.vendor in str(error)
    assert errors >= 200
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024  # KiB


@pytest.mark.parametrize("name", GOOD)
def test_the_reply_the_garbage_is_made_from_is_good(name):
    with serving() as vendor:
        vendor.answer = lambda a: Said(indicator(a.query) if "function" in a.query else GOOD[name])
        found, error = harvest(name, vendor.base)
    assert error is None
    assert found != Harvest()


NUMERIC = ("p", "o", "h", "l", "c", "v", "t", "4. close", "confidence")


@pytest.mark.parametrize("name", GOOD)
def test_one_wrong_place_in_a_good_reply_never_makes_a_wrong_number(name):
    good = GOOD[name]
    with serving() as vendor:
        vendor.answer = lambda a: Said(indicator(a.query) if "function" in a.query else good)
        normal, _ = harvest(name, vendor.base)
        tried = 0
        for path in leaves(good):
            for odd in ODD:
                body = changed(good, path, odd)
                vendor.answer = lambda a, b=body: Said(
                    indicator(a.query)
                    if a.query.get("function", "TIME_SERIES_DAILY") != "TIME_SERIES_DAILY"
                    else b
                )
                found, error = harvest(name, vendor.base)
                tried += 1
                if error is not None:
                    assert isinstance(error, UnavailableSource)
                plausible(name, path, odd, found, normal)
    assert tried >= 200


def plausible(name, path, odd, found, normal):
    """Nothing is there that the vendor's own words do not say."""
    prices = [q.price for q in found.quotes]
    prices += [p for b in found.bars for p in (b.open, b.high, b.low, b.close)]
    assert all(0 < p <= 1e7 for p in prices), (path, odd)
    assert all(q.symbol == "AAPL" for q in found.quotes)
    assert {b.symbol for b in found.bars} <= {"AAPL"}
    assert {b.at for b in found.bars} <= {b.at for b in normal.bars}
    for reading in found.readings:
        assert reading.symbol == "AAPL", (path, odd)
        assert reading.at == normal.readings[0].at, (path, odd)
        if path and path[-1] in NUMERIC:
            assert reading.values == normal.readings[0].values or float(odd) in (
                reading.values.values()
            ), (path, odd)


def test_a_gzip_bomb_stays_small():
    bomb = gzip.compress(b" " * 200_000_000, 9)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with serving() as vendor:
        for name in GOOD:
            vendor.says(bomb, Content_Encoding="gzip")
            found, error = harvest(name, vendor.base)
            assert found == Harvest()
            assert "longer than 4194304 bytes" in str(error)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024  # KiB


class Trusting(XSentiment):
    """The seeded bug: believes whatever looks a little like a post."""

    def fetch(self, at):
        from argo_alpine.domain import Reading

        said = self.web.get("/2/tweets/search/recent")
        score = float(said.get("score", 1)) if isinstance(said, dict) else 1.0
        return Harvest((Reading(self.name, "AAPL", at, at, {"score": score, "authors": 9.0}),))


def test_an_adapter_that_believes_everything_would_be_caught(monkeypatch):
    monkeypatch.setitem(globals(), "XSentiment", Trusting)
    with pytest.raises(AssertionError):
        test_garbage_brings_nothing_but_a_typed_error("x_sentiment")
