"""What surrounds every answer, and that nothing anybody sends breaks the server."""

import json
import socket
from collections import Counter

import numpy as np
from sqlalchemy.exc import OperationalError

from services.alpine import security
from services.alpine.security import BODY, HEADERS, PAGE, SHUT, Buckets
from tests.alpine_stage import PASSWORD, WALL, Book, a_signal, running
from tests.clocks import ManualClock


def dressed(reply):
    for name, value in HEADERS.items():
        if name != "content-security-policy":
            assert reply.headers.get(name) == value, (reply.status_code, name)
    assert len(reply.headers["x-request-id"]) == 16
    return reply.headers["content-security-policy"]


def refused(reply, status):
    """An error of ours: a sentence, an id, and nothing else."""
    assert reply.status_code == status, reply.text
    assert dressed(reply) == SHUT
    said = reply.json()
    assert set(said) >= {"detail", "id"}
    assert said["id"] == reply.headers["x-request-id"]
    for word in ("Traceback", "sqlalchemy", "SELECT", "services/", "psycopg", PASSWORD):
        assert word not in reply.text


def test_every_answer_wears_its_headers(alpine, monkeypatch):
    token = alpine.token()
    for path in ("/health", "/metrics", "/api/account", "/openapi.json"):
        reply = alpine.ask(path, token)
        assert (reply.status_code, dressed(reply)) == (200, SHUT)
    refused(alpine.ask("/nowhere"), 404)
    refused(alpine.ask("/api/account", token, "DELETE"), 405)
    refused(alpine.ask("/api/account"), 401)
    refused(alpine.post("/api/auth/login", {"email": 5, "password": PASSWORD}), 422)
    refused(alpine.ask("/api/auth/login", None, "POST", data=b"x" * (BODY + 1)), 413)

    def broken(*_):
        raise ZeroDivisionError(f"SELECT {PASSWORD}")

    monkeypatch.setattr(alpine.alpine.doors, "enter", broken)
    refused(alpine.ask("/api/account", token), 500)


def test_a_store_that_does_not_answer_is_a_503_that_makes_nothing_up(alpine, monkeypatch):
    token = alpine.token()

    def broken(*_):
        raise OperationalError("SELECT secrets", {}, Exception("psycopg"))

    monkeypatch.setattr(alpine.alpine.database, "sessions", broken)
    refused(alpine.ask("/api/account", token), 503)
    said = alpine.ask("/health")
    assert (said.status_code, said.json()["status"], said.json()["head"]) == (503, "down", None)


def test_only_a_report_may_run_its_own_script(alpine):
    folder = alpine.alpine.reports / "backtest"
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("<script>1</script>")
    (folder / "metrics.json").write_text('{"sharpe": 0.5, "checksums": {}}')
    token = alpine.token()
    (listed,) = alpine.get("/api/reports", token)
    assert (listed["name"], listed["metrics"]) == ("backtest", {"sharpe": 0.5})
    reply = alpine.ask("/api/reports/backtest", token)
    assert (reply.text, dressed(reply)) == ("<script>1</script>", PAGE)
    assert "unsafe-inline" not in SHUT and "sandbox allow-scripts;" in PAGE
    assert dressed(alpine.ask("/api/reports", token)) == SHUT
    for name in ("absent", "..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "backtest%00", ".hidden"):
        assert alpine.ask(f"/api/reports/{name}", token).status_code in (404, 422)
    refused(alpine.ask("/api/reports/absent", token), 404)
    assert alpine.ask("/api/reports/backtest").status_code == 401


def test_only_the_listed_origins_may_read(alpine):
    def allowed(origin):
        reply = alpine.ask("/health", headers={"origin": origin})
        return reply.headers.get("access-control-allow-origin")

    assert allowed("https://good.example") == "https://good.example"
    for origin in ("https://good.example.evil.tld", "null", "http://good.example", "*", ""):
        assert allowed(origin) is None
    reply = alpine.ask("/health", headers={"origin": "https://good.example"})
    assert "access-control-allow-credentials" not in reply.headers


def test_a_body_that_grows_is_cut_off_and_one_that_never_ends_too(alpine, monkeypatch):
    def parts():
        for _ in range(100):
            yield b"x" * 1024

    refused(alpine.ask("/api/auth/login", None, "POST", data=parts()), 413)
    monkeypatch.setattr(security, "BODY_SECONDS", 0.05)
    place = ("127.0.0.1", int(alpine.url.rpartition(":")[2]))
    with socket.create_connection(place, timeout=20) as slow:
        head = "POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
        slow.sendall(head.encode())
        assert b" 408 " in slow.recv(4096)


def test_an_address_that_asks_too_much_waits(tmp_path):
    with running(tmp_path, rate=5.0) as alpine:
        replies = [alpine.ask("/health") for _ in range(7)]
        assert [reply.status_code for reply in replies] == [200] * 5 + [429] * 2
        refused(replies[-1], 429)
        book = Book()
        book.tell(a_signal(1))
        assert alpine.send(book.batch()).status_code == 200  # Argo has a reserve of its own
        alpine.clock.move(1)
        assert alpine.ask("/health").status_code == 200


def test_the_list_of_addresses_has_an_end():
    clock = ManualClock(WALL)
    buckets = Buckets(clock, 1.0, 2.0, most=100)
    for number in range(1000):
        assert buckets.wait(str(number)) == 0
    assert len(buckets.left) == 100


def test_health_says_what_is_wrong_and_what_was_heard(alpine):
    said = alpine.get("/health")
    assert (said["status"], said["problems"]) == ("degraded", ["nothing was heard of Argo yet"])
    book = Book()
    book.tell(a_signal(1), a_signal(2))
    alpine.deliver(book)
    alpine.clock.move(60)
    said = alpine.get("/health")
    assert (said["status"], said["head"], said["problems"]) == ("ok", 2, [])
    assert said["database"] == ("sqlite" if alpine.alpine.database.is_sqlite else "postgresql")
    source = {"epoch": book.epoch, "high": 2, "sandbox": True, "age_seconds": 60.0}
    assert said["sources"] == [source]
    alpine.clock.move(2 * 86_400)
    assert alpine.get("/health")["status"] == "degraded"
    assert "alpine_feed_total 2.0" in alpine.ask("/metrics").text


# -- anything at all -------------------------------------------------------------------------------

NASTY = [
    *(None, True, 0, -1, 1.5, 2**63, 2**63 - 1, 10**400, float("nan"), float("inf"), -1e308),
    *("", " ", "a", "\x00", "\ud800", "'; DROP TABLE users; --", "../../etc/passwd", "%00"),
    *("<img onerror=x>", "a" * 5000, "a@b.c", "a\r\nBcc: x@y.z", "UTC", "AAPL", "LONG", "\u202e"),
    *("2005-03-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2005-03-01T00:00"),
    *("10000000000000", "-1", "1e9", [], {}, [[[]]], {"a": {"b": []}}, ["AAPL"] * 50, PASSWORD),
]


def operations(schema):
    for path, methods in schema["paths"].items():
        for method, said in methods.items():
            yield method.upper(), path, said


def body_of(schema, said):
    content = said.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return []
    name = content["schema"]["$ref"].rpartition("/")[2]
    return [*schema["components"]["schemas"][name]["properties"]]


def drawn(rng):
    return NASTY[rng.integers(len(NASTY))]


def as_text(value):
    """What may stand in a URL or a header."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "surrogatepass")[:3000]


def test_whatever_is_sent_to_whatever_route_is_no_error_of_ours(alpine):
    book = Book()
    book.tell(*(a_signal(n) for n in range(3)))
    alpine.deliver(book)
    schema, rng = alpine.get("/openapi.json"), np.random.default_rng(20260105)
    token, statuses = alpine.token(), Counter()
    for _ in range(12):
        for method, path, said in operations(schema):
            if path in ("/api/auth/logout", "/api/auth/password"):
                continue  # they would end the token
            where = path
            for part in said.get("parameters", ()):
                if part["in"] == "path":
                    raw = as_text(drawn(rng))
                    quoted = "".join(f"%{byte:02x}" for byte in raw) or "%20"
                    where = where.replace(f"{{{part['name']}}}", quoted)
            query = [
                (part["name"], as_text(drawn(rng)))
                for part in said.get("parameters", ())
                if part["in"] == "query" and rng.random() < 0.4
            ]
            names = body_of(schema, said)
            more = {}
            if method in ("POST", "PATCH"):
                value = {name: drawn(rng) for name in names if rng.random() < 0.9}
                whole = value if rng.random() < 0.9 else drawn(rng)
                kind = {"content-type": "application/json"}
                more = {"data": json.dumps(whole).encode(), "headers": kind}
                if rng.random() < 0.05:
                    more["data"] = b"[" * 50_000
            who = token if rng.random() < 0.8 else None
            reply = alpine.ask(where, who, method, params=query, **more)
            statuses[reply.status_code] += 1
            assert reply.status_code < 500, (method, where, query, more, reply.text)
            assert reply.headers["content-security-policy"] in (SHUT, PAGE)
    assert {200, 401, 422} <= set(statuses)


def test_an_odd_authorization_is_a_401(alpine):
    for header in ("Bearer", "Basic x", "bearer \u00fc", "x" * 9000, "Bearer a b", "Bearer  "):
        odd = {"authorization": header.strip().encode("latin-1")}
        assert alpine.ask("/api/account", headers=odd).status_code == 401
