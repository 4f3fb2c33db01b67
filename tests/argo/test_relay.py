"""The outbox reaches the other side in order, at least once, whatever happens on the way."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from sqlalchemy import select

from argo_alpine.domain import InvalidJournal, Unavailable
from argo_alpine.records import digest
from services.argo.relay import Relay
from services.argo.routes.health import untold
from services.argo.tables import outbox
from services.common.signing import verify
from tests.argo_stage import staged

KEYS = ("whsec_" + "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=",)
SEED = 11


class Taker:
    """The other side: takes in order, forgets nothing, and sometimes says nothing."""

    def __init__(self, clock):
        self.clock, self.taken, self.moods = clock, [], iter(())
        self.batches = 0

    def answer(self, headers, body):
        verify(KEYS, headers, body, self.clock.wall())
        mood = next(self.moods, "fine")
        self.batches += 1
        batch = json.loads(body)
        if mood == "down":
            return 503, {"detail": "no"}
        high = len(self.taken)
        if batch["from"] > high + 1:
            return 409, {"expected": high + 1}
        for message in batch["messages"]:
            if message["n"] <= high and self.taken[message["n"] - 1]["hash"] != message["hash"]:
                return 409, {"conflict": message["n"]}
            if message["n"] == len(self.taken) + 1:
                self.taken.append(message)
        return (None, {}) if mood == "mute" else (200, {"high": len(self.taken)})


@contextmanager
def listening(taker):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            status, said = taker.answer({k.lower(): v for k, v in self.headers.items()}, body)
            if status is None:  # taken, and the answer is lost
                self.close_connection = True
                return
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        def log_message(self, *_):
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(5)


@pytest.fixture
def both(tmp_path):
    """A book with something to tell, and somebody to tell it to."""
    with staged(tmp_path / "book.sqlite", history=120) as stage:
        stage.engine.cycle()
        for _ in range(25):
            stage.day()
        taker = Taker(stage.clock)
        with listening(taker) as url:
            yield stage, taker, Relay(stage.writer, stage.clock, url, KEYS, True)


def sent(stage):
    with stage.writer.transaction() as session:
        rows = session.execute(select(outbox.c.n, outbox.c.hash).order_by(outbox.c.n)).all()
    return [tuple(row) for row in rows]


def carried(relay):
    while True:
        try:
            if not relay.carry():
                return
        except Unavailable:
            continue


def test_everything_arrives_once_and_in_order_over_a_bad_line(both):
    stage, taker, relay = both
    moods = np.random.default_rng(SEED).choice(["fine", "down", "mute"], 400, p=[0.5, 0.25, 0.25])
    taker.moods = iter(moods.tolist())
    carried(relay)
    assert [(m["n"], m["hash"]) for m in taker.taken] == sent(stage)
    assert len(taker.taken) > 100
    assert taker.batches > len(taker.taken) // 100 + 2


def test_every_hash_is_that_of_its_entry_kind_and_body(both):
    _, taker, relay = both
    carried(relay)
    for message in taker.taken:
        assert message["hash"] == digest((message["entry"], message["kind"], message["body"]))
    assert {m["kind"] for m in taker.taken} == {"signal", "fill", "trade", "equity"}


def test_a_restart_asks_where_the_other_side_is(both):
    stage, taker, relay = both
    relay.carry()
    relay.carry()
    there = len(taker.taken)
    again = Relay(stage.writer, stage.clock, relay.url.removesuffix("/api/intake"), KEYS, True)
    again.carry()
    assert again.high == there
    carried(again)
    assert len(taker.taken) == len(sent(stage))


def test_another_content_under_a_known_number_stops_it_loudly(both):
    _, taker, relay = both
    carried(relay)
    taker.taken[2] = {**taker.taken[2], "hash": "0" * 64}
    relay.high = 1
    with pytest.raises(InvalidJournal, match="number 3"):
        relay.carry()


def test_an_older_copy_of_the_book_is_noticed(both):
    stage, taker, relay = both
    carried(relay)
    taker.taken += [{"n": n, "hash": "1" * 64} for n in range(len(taker.taken) + 1, 10_000)]
    again = Relay(stage.writer, stage.clock, relay.url.removesuffix("/api/intake"), KEYS, True)
    with pytest.raises(InvalidJournal, match="which has"):
        again.carry()


def test_health_says_when_nobody_is_told(both):
    _, taker, relay = both
    taker.moods = iter(["down"] * 3)
    with pytest.raises(Unavailable):
        relay.carry()
    relay.ended.set()
    relay.ended.wait = lambda _: next(rounds)
    rounds = iter([False, True])
    relay.run()
    assert relay.health.state == "failing"
    assert [*untold(relay.health)] == [f"Alpine is not told what happens: {relay.health.error}"]
    carried(relay)
    assert [*untold(relay.health)] == []
