"""The sandbox as a process: two ports, a ticker, faults on demand, books that survive."""

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from datetime import date, timedelta

import pytest
import requests

from argo_alpine.domain import InvalidSettings
from argo_alpine.loading import load
from services.sandbox.app import create_app, open_sandbox
from services.sandbox.server import TICK, write_state
from services.sandbox.world import START, SYMBOLS
from tests.sandbox_server import ask, running

DAY = date(2005, 3, 1)
BARS = load(SYMBOLS, date(2004, 9, 1), date(2005, 4, 29))
KEYS = {
    "Authorization": "Bearer sandbox",
    "APCA-API-KEY-ID": "sandbox",
    "APCA-API-SECRET-KEY": "sandbox",
}
SNAPSHOT = "/massive/v2/snapshot/locale/us/markets/stocks/tickers"
ORDER = {"symbol": "IBM", "qty": "2", "side": "buy", "type": "market", "time_in_force": "gtc"}


@pytest.fixture
def sandbox():
    with running(bars=BARS, start=DAY) as server:
        server.session.headers.update(KEYS)
        yield server


def told(server):
    return server.session.get(f"{server.control}/time", timeout=5).json()


def test_the_control_port_tells_the_time_and_steps_it(sandbox):
    start = told(sandbox)
    assert (start["session"], start["window"], start["running"]) == ("2005-03-01", "close", False)
    assert sandbox.step(windows=2)["window"] == "open"
    assert sandbox.step(seconds=1.5)["at"] == "2005-03-02T14:30:01.500000+00:00"
    assert start["sandbox"] is True


@pytest.mark.parametrize("by", [{}, {"windows": 1, "seconds": 1}, {"windows": 0}, {"days": 1}])
def test_a_step_must_say_how_far(sandbox, by):
    assert sandbox.session.post(f"{sandbox.control}/step", json=by, timeout=5).status_code == 422


def test_a_running_sandbox_refuses_to_be_stepped(sandbox):
    sandbox.session.post(f"{sandbox.control}/run", timeout=5)
    reply = sandbox.session.post(f"{sandbox.control}/step", json={"windows": 1}, timeout=5)
    assert (reply.status_code, "pause" in reply.text) == (409, True)
    assert sandbox.session.post(f"{sandbox.control}/pause", timeout=5).json()["running"] is False


def test_dwell_is_checked_and_shown(sandbox):
    url = f"{sandbox.control}/dwell"
    assert sandbox.session.post(url, json={"seconds": 3}, timeout=5).json()["dwell"] == 3
    assert sandbox.session.post(url, json={"seconds": 0}, timeout=5).status_code == 422


def test_time_stands_still_until_somebody_asks_a_vendor():
    moved = threading.Event()
    with running(bars=BARS, start=DAY, running=True) as server:
        world, move = server.world, server.world.move
        world.move = lambda seconds: (move(seconds), moved.set())
        assert told(server)["waiting"] is True
        health = server.session.get(f"{server.base}/health", timeout=5).json()
        assert (health["waiting"], health["sandbox"]) == (True, True)
        assert not moved.wait(3 * TICK)
        server.session.get(f"{server.base}{SNAPSHOT}", headers=KEYS, timeout=5)
        assert moved.wait(10 * TICK)
        assert told(server)["waiting"] is False


def test_when_the_record_is_over_health_says_so(sandbox):
    assert sandbox.step(windows=1000)["window"] == "ended"
    health = sandbox.session.get(f"{sandbox.base}/health", timeout=5).json()
    assert (health["status"], health["open"]) == ("ended", False)


# Faults


def get(server, path=SNAPSHOT):
    return server.session.get(f"{server.base}{path}", timeout=5)


def test_a_status_strikes_as_often_as_it_was_told(sandbox):
    body = '{"error": "busy"}'
    fault = {"prefix": "/massive", "kind": "status", "status": 429, "body": body, "times": 2}
    sandbox.faults({**fault, "headers": {"Retry-After": "3"}})
    replies = [get(sandbox) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [429, 429, 200]
    assert replies[0].json() == {"error": "busy"} and replies[0].headers["retry-after"] == "3"
    assert sandbox.session.get(f"{sandbox.control}/faults", timeout=5).json() == []


def test_a_fault_strikes_only_its_vendor_and_its_method(sandbox):
    sandbox.faults({"prefix": "/alpaca", "method": "POST", "kind": "status", "status": 504})
    assert get(sandbox).status_code == get(sandbox, "/alpaca/v2/account").status_code == 200
    url = f"{sandbox.base}/alpaca/v2/orders"
    assert sandbox.session.post(url, json=ORDER, timeout=5).status_code == 504
    sandbox.session.delete(f"{sandbox.control}/faults", timeout=5)
    assert sandbox.session.post(url, json=ORDER, timeout=5).status_code == 200


def test_garbage_is_a_page_where_json_should_be(sandbox):
    sandbox.faults({"prefix": "/massive", "kind": "garbage"})
    reply = get(sandbox)
    assert reply.status_code == 200 and reply.text.startswith("<html>")


def test_a_delay_is_served_after_it(sandbox):
    sandbox.faults({"prefix": "/massive", "kind": "delay", "delay": 0.2})
    assert get(sandbox).elapsed >= timedelta(seconds=0.2)
    with pytest.raises(requests.ReadTimeout):
        sandbox.session.get(f"{sandbox.base}{SNAPSHOT}", timeout=0.05)


@pytest.mark.parametrize(("kind", "orders"), [("drop_before", 0), ("drop_after", 1)])
def test_a_dropped_connection_leaves_an_order_or_none(sandbox, kind, orders):
    sandbox.faults({"prefix": "/alpaca/v2/orders", "method": "POST", "kind": kind, "times": 1})
    with pytest.raises(requests.ConnectionError):
        sandbox.session.post(f"{sandbox.base}/alpaca/v2/orders", json=ORDER, timeout=5)
    assert len(get(sandbox, "/alpaca/v2/orders?status=all").json()) == orders


def test_a_fault_that_cannot_be_meant_is_refused(sandbox):
    for bad in ({"prefix": "massive", "kind": "status"}, {"prefix": "/x", "kind": "mood"}):
        reply = sandbox.session.post(f"{sandbox.control}/faults", json=[bad], timeout=5)
        assert reply.status_code == 422


def test_a_stream_can_be_cut_and_refused(sandbox):
    from websockets.exceptions import ConnectionClosed, InvalidStatus
    from websockets.sync.client import connect

    url = f"{sandbox.base.replace('http', 'ws', 1)}/alpaca/stream"
    with connect(url) as stream:
        stream.send(json.dumps({"action": "auth", "key": "sandbox", "secret": "sandbox"}))
        assert b"authorized" in stream.recv(5, decode=False)
        sandbox.faults({"prefix": "/alpaca/stream", "kind": "drop_before", "times": 1})
        with pytest.raises(ConnectionClosed):
            stream.recv(5)
    with pytest.raises(InvalidStatus), connect(url):
        pass
    with connect(url) as stream:  # the fault was for once
        stream.send(json.dumps({"action": "auth", "key": "sandbox", "secret": "sandbox"}))
        assert b"authorized" in stream.recv(5, decode=False)


def test_a_fault_of_another_method_leaves_streams_alone(sandbox):
    from websockets.sync.client import connect

    url = f"{sandbox.base.replace('http', 'ws', 1)}/alpaca/stream"
    with connect(url) as stream:
        stream.send(json.dumps({"action": "auth", "key": "sandbox", "secret": "sandbox"}))
        stream.recv(5)
        sandbox.faults({"prefix": "/alpaca", "method": "POST", "kind": "drop_after"})
        stream.send(json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}}))
        assert b"listening" in stream.recv(5, decode=False)


def test_the_stream_tells_of_a_fill(sandbox):
    from websockets.sync.client import connect

    url = f"{sandbox.base.replace('http', 'ws', 1)}/alpaca/stream"
    with connect(url) as stream:
        listen = {"action": "listen", "data": {"streams": ["trade_updates"]}}
        for message in ({"action": "auth", "key": "sandbox", "secret": "sandbox"}, listen):
            stream.send(json.dumps(message))
            stream.recv(5)
        sandbox.session.post(f"{sandbox.base}/alpaca/v2/orders", json=ORDER, timeout=5)
        sandbox.step(seconds=1)
        events = []
        while "fill" not in events:
            events.append(json.loads(stream.recv(5))["data"]["event"])
    assert events[-1] == "fill"


# Books


def test_state_goes_out_and_in_again_through_the_control_port(sandbox):
    sandbox.session.post(f"{sandbox.base}/alpaca/v2/orders", json=ORDER, timeout=5)
    sandbox.step(seconds=2)
    url = f"{sandbox.control}/state"
    kept = sandbox.session.get(url, timeout=5).json()
    sandbox.step(windows=20)
    assert sandbox.session.put(url, json=kept, timeout=5).json()["window"] == "close"
    assert sandbox.session.get(url, timeout=5).json() == kept
    assert get(sandbox, "/alpaca/v2/positions").json()[0]["qty"] == "2"
    assert sandbox.session.put(url, json={"version": 0}, timeout=5).status_code == 422


def test_a_second_run_goes_on_where_the_first_stopped_unless_it_is_fresh(tmp_path):
    options = {"bars": BARS, "state": tmp_path / "data" / "sandbox.json"}
    with running(**options) as server:
        server.session.headers.update(KEYS)
        server.session.post(f"{server.base}/alpaca/v2/orders", json=ORDER, timeout=5)
        server.step(windows=7)
        before = told(server)
    with running(**options) as server:
        server.session.headers.update(KEYS)
        assert {**told(server), "waiting": False} == before
        assert get(server, "/alpaca/v2/positions").json()[0]["qty"] == "2"
    with running(**options, fresh=True) as server:
        assert told(server)["session"] == START.isoformat()


def test_a_damaged_state_is_refused_with_its_name_and_the_remedy(tmp_path):
    state = tmp_path / "sandbox.json"
    state.write_text("{")
    with pytest.raises(InvalidSettings, match=re.escape(f"{state} cannot be continued")):
        open_sandbox(port=0, control_port=0, bars=BARS, state=state)


def test_a_state_is_written_whole_or_not_at_all(tmp_path):
    state = tmp_path / "sandbox.json"
    write_state(state, {"a": 1})
    with pytest.raises(TypeError):
        write_state(state, {"a": object()})
    assert json.loads(state.read_text()) == {"a": 1}


# Starting


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::", "example.com"])
def test_a_host_that_others_can_reach_is_refused(host):
    with pytest.raises(InvalidSettings, match="loopback"):
        open_sandbox(host=host, port=0, control_port=0, bars=BARS)


@pytest.mark.parametrize("option", ["port", "control_port"])
def test_a_busy_port_is_named_with_the_option_that_changes_it(option):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        ports = {"port": 0, "control_port": 0, option: number}
        words = f"{number}.*--{option.replace('_', '-')}"
        with pytest.raises(InvalidSettings, match=words):
            open_sandbox(bars=BARS, **ports)


def test_a_failure_of_the_ticker_stops_the_sandbox_and_is_told(monkeypatch):
    sandbox = open_sandbox(port=0, control_port=0, bars=BARS)
    sandbox.pace.waiting = False

    def broken(seconds):
        raise ZeroDivisionError("the world is flat")

    monkeypatch.setattr(sandbox.world, "move", broken)
    with pytest.raises(ZeroDivisionError, match="flat"):
        asyncio.run(sandbox.run())


def test_the_two_ports_do_not_share_paths(sandbox):
    assert get(sandbox, "/time").status_code == 404
    assert sandbox.session.get(f"{sandbox.control}{SNAPSHOT}", timeout=5).status_code == 404
    assert ask(create_app(sandbox.world), "/health").json()["label"] == "SANDBOX"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_politely_and_its_books_are_kept(tmp_path, number):
    state = tmp_path / "sandbox.json"
    call = f"serve(port=0, control_port=0, state=Path({str(state)!r}))"
    code = f"from pathlib import Path; from services.sandbox.app import serve; {call}"
    with subprocess.Popen([sys.executable, "-uc", code], stdout=subprocess.PIPE) as process:
        told = process.stdout.readline().decode()
        process.send_signal(number)
        assert process.wait(30) == 0
    assert re.match(r"SANDBOX http://127.0.0.1:\d+ \(control http://127.0.0.1:\d+\)", told)
    assert json.loads(state.read_text())["session"] == START.isoformat()
