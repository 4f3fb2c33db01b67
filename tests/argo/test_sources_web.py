"""The client all sources share: it waits, reads and tells no more than it must."""

import gzip
import logging
import socket
from itertools import count, repeat

import pytest

from argo_alpine.domain import InvalidSettings, UnavailableSource
from services.argo.sources import web
from services.argo.sources.web import Failure, Web
from tests.sources_stage import KEY, Said, Ticks, serving


@pytest.fixture
def vendor():
    with serving() as vendor:
        yield vendor


def client(vendor, **options):
    return Web("Vendor", vendor.base, KEY, **options)


def failure(client, path="/a"):
    with pytest.raises(UnavailableSource) as caught:
        client.get(path, {"apikey": KEY, "symbol": "AAPL"})
    return caught.value


def test_a_good_reply_is_its_json(vendor):
    vendor.says({"a": [1, 2.5, None]})
    assert client(vendor).get("/a") == {"a": [1, 2.5, None]}
    assert vendor.asked[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>welcome</html>",
        b'{"a": 1',
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b"[" * 100_000,
        b"\xff\xfe{\x00}\x00",
        b"\x00",
    ],
)
def test_a_body_that_is_not_json_is_a_failure(vendor, body):
    vendor.says(body)
    error = failure(client(vendor))
    assert "Vendor: GET /a: the body is" in str(error)
    assert error.status == 200


def test_a_body_that_drips_is_cut_off(vendor):
    looks = count()  # a second passes with every look at the clock: the test waits for nothing
    vendor.answer = lambda asked: Said(pieces=lambda: repeat(b" "))
    slow = client(vendor, monotonic=lambda: float(next(looks)))
    assert "longer than 10 s" in str(failure(slow))


def test_the_same_drip_is_read_when_there_is_time(vendor):
    vendor.answer = lambda asked: Said(pieces=lambda: iter([b" "] * 50 + [b"{}"]))
    assert client(vendor, monotonic=Ticks()).get("/a") == {}


def test_a_head_that_never_ends_is_cut_off(vendor, monkeypatch):
    monkeypatch.setattr(web.Punctual, "seconds", 0.05)
    vendor.answer = lambda asked: Said(raw=b"HTTP/1.1 200 OK\r\nX-A: ")
    assert failure(client(vendor, timeouts=(1.0, 8.0))).status == 0


def test_a_vendor_that_accepts_and_says_nothing_is_given_up(vendor):
    vendor.answer = lambda asked: Said(raw=b"")
    assert "no answer within 0.05 s" in str(failure(client(vendor, timeouts=(1.0, 0.05))))


def test_a_vendor_that_is_not_there_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Failure, match=r"Vendor: GET /a: no answer \(ConnectionError\)"):
            Web("Vendor", base, KEY).get("/a")


def test_a_long_body_and_a_gzip_bomb_are_refused(vendor):
    plain = b'"' + b"a" * (5 * 1024 * 1024) + b'"'
    vendor.says(plain)
    assert "longer than 4194304 bytes" in str(failure(client(vendor)))
    vendor.says(gzip.compress(plain), Content_Encoding="gzip")
    assert "longer than 4194304 bytes" in str(failure(client(vendor)))
    vendor.says(gzip.compress(b'{"a": 1}'), Content_Encoding="gzip")
    assert client(vendor).get("/a") == {"a": 1}


def test_a_redirect_is_not_followed(vendor):
    vendor.says(b"", 302, Location=f"{vendor.base}/elsewhere")
    assert "HTTP 302" in str(failure(client(vendor)))
    assert len(vendor.asked) == 1


def test_no_proxy_of_the_environment_sees_the_key(vendor, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    vendor.says({})
    assert client(vendor).get("/a") == {}


@pytest.mark.parametrize(
    "said",
    [
        {"error": f"Unknown key {KEY}"},
        {"error": {"message": f"{KEY.upper()} is wrong", "type": "invalid_api_key"}},
        {"title": "No", "detail": "x" * 340 + KEY},
        {"message": f"key=canary%2FQz7%2BpL2xW9vT4k, {KEY[:3]}\u200b{KEY[3:]}"},
    ],
)
@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_the_key_is_in_no_error_whatever_the_vendor_echoes(vendor, said, status, caplog):
    caplog.set_level(logging.DEBUG)
    vendor.says(said, status)
    error = failure(client(vendor, bearer=False))
    chain = [error]
    while chain[-1].__cause__ or chain[-1].__context__:
        chain.append(chain[-1].__cause__ or chain[-1].__context__)
    told = " ".join(map(str, chain)) + caplog.text
    for part in (KEY, KEY[:12], "%2FQz7"):
        assert part.lower() not in told.lower()
    assert f"HTTP {status}" in told


def test_a_client_that_passes_words_on_as_they_are_would_be_caught(vendor, monkeypatch):
    monkeypatch.setattr(Web, "redacted", lambda self, words: words)
    vendor.says({"error": f"Unknown key {KEY}"}, 401)
    assert KEY in str(failure(client(vendor)))


def test_the_vendors_words_are_shown_when_they_are_harmless(vendor):
    vendor.says({"status": "ERROR", "error": "Unknown API Key"}, 401)
    assert str(failure(client(vendor))) == "Vendor: GET /a: HTTP 401 Unknown API Key"


@pytest.mark.parametrize(
    "url",
    [
        "http://evil.example/v2?cursor=1",
        "https://127.0.0.1/v2",
        "//evil.example/v2",
        None,
        17,
        "http://[",
        "",
    ],
)
def test_the_next_page_must_be_the_vendors_own(vendor, url):
    with pytest.raises(Failure, match="leads elsewhere"):
        client(vendor).inside(url)
    assert client(vendor).inside(f"{vendor.base}/v2?cursor=1") == "/v2?cursor=1"


@pytest.mark.parametrize("base", ["", "ftp://a", "api.x.com", "https://a?b=c"])
def test_an_address_that_is_none_is_refused_at_once(base):
    with pytest.raises(InvalidSettings, match="base_url"):
        Web("Vendor", base, KEY)


@pytest.mark.parametrize("key", ["", " a", "a\n", "a\tb", "schlüssel"])
def test_a_key_that_cannot_be_one_is_refused_and_not_shown(key):
    with pytest.raises(InvalidSettings, match="the key is empty"):
        Web("Vendor", "https://a.example", key)
