"""The live feed: in order, without a gap, without a duplicate, or closed with a reason."""

import asyncio
import json
import socket
from asyncio import Queue, QueueFull
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from services.alpine import hub as hub_module
from services.alpine import socket as socket_module
from services.alpine.hub import QUEUE, Client
from tests.alpine_stage import PASSWORD, SYMBOLS, Book, a_signal, running

WAIT = 20.0


def address(alpine):
    return alpine.url.replace("http", "ws") + "/ws/signals"


@asynccontextmanager
async def listening(alpine, token, resume=None, **more):
    # the client stops reading when its queue is full, and then waits in vain for our farewell
    more = {"proxy": None, "ping_interval": None, "max_queue": None} | more
    async with connect(address(alpine), **more) as found:
        await found.send(json.dumps({"token": token, "resume_from": resume}))
        yield found


async def heard(found):
    return json.loads(await asyncio.wait_for(found.recv(), WAIT))


async def feeds(found, count):
    return [(await heard(found))["feed"] for _ in range(count)]


async def code(found):
    """What it was closed with, whatever came before."""
    try:
        while True:
            await asyncio.wait_for(found.recv(), WAIT)
    except ConnectionClosed as closed:
        return closed.rcvd.code


def in_thread(function, *words):
    return asyncio.get_running_loop().run_in_executor(None, function, *words)


def a_book(first, last, symbols=("AAPL",), **more):
    book = Book()
    book.tell(*(a_signal(n, symbols[n % len(symbols)], **more) for n in range(first, last)))
    return book


def test_what_is_delivered_is_heard_at_once(alpine):
    book, token = a_book(0, 3), alpine.token()

    async def listen():
        async with listening(alpine, token) as found:
            assert await heard(found) == {"type": "hello", "head": 0, "sandbox": False}
            await in_thread(alpine.deliver, book)
            said = await heard(found)
            assert (said["type"], said["feed"], said["signal"]["feed"]) == ("signal", 1, 1)
            assert await feeds(found, 2) == [2, 3]
            return said["signal"]

    signal = asyncio.run(listen())
    assert signal == alpine.get("/api/signals/history", token)["items"][-1]


@pytest.mark.parametrize(
    "first", ["", "{", "[]", '{"token": 5}', '{"token": "x"}', '{"token":"x","more":1}', b"\x00"]
)
def test_whoever_does_not_say_who_he_is_is_sent_away(alpine, first):
    async def listen():
        async with connect(address(alpine), proxy=None) as found:
            await found.send(first)
            return await code(found)

    assert asyncio.run(listen()) == 4401


def test_whoever_says_nothing_is_sent_away(alpine, monkeypatch):
    monkeypatch.setattr(socket_module, "FIRST", 0.05)

    async def listen():
        async with connect(address(alpine), proxy=None) as found:
            return await code(found)

    assert asyncio.run(listen()) == 4401


def test_a_page_that_is_not_ours_is_refused_before_it_says_anything(alpine):
    token = alpine.token()

    async def listen(origin):
        async with listening(alpine, token, origin=origin) as found:
            return (await heard(found))["type"]

    assert asyncio.run(listen("https://good.example")) == "hello"
    for origin in ("https://good.example.evil.tld", "null", "http://good.example"):
        with pytest.raises(InvalidStatus) as refused:
            asyncio.run(listen(origin))
        assert refused.value.response.status_code == 403


def test_free_has_no_socket_and_starter_hears_his_symbols_only(alpine):
    free, starter = alpine.token("free"), alpine.token("starter")

    async def listen():
        async with listening(alpine, free) as found:
            assert await code(found) == 4403
        async with listening(alpine, starter) as found:
            await heard(found)
            await in_thread(alpine.deliver, a_book(0, 60, SYMBOLS))
            numbers = await feeds(found, 10)
        async with listening(alpine, starter, 0) as found:
            await heard(found)
            again = await feeds(found, 10)
            alpine.clock.move(86_400)
            later = a_book(0, 61)
            await in_thread(alpine.send, {**later.batch(61), "messages": later.messages[60:]})
            return numbers, again, await feeds(found, 1)

    numbers, again, next_day = asyncio.run(listen())
    mine = [n for n in range(1, 61) if SYMBOLS[(n - 1) % 4] in SYMBOLS[:2]][:10]
    assert numbers == again == mine
    assert next_day == [61]


def test_resuming_again_and_again_misses_nothing_and_repeats_nothing(alpine):
    book, token = a_book(0, 300), alpine.token()

    def send():
        for first in range(1, 301, 5):
            assert alpine.send(book.batch(first, first + 4)).status_code == 200

    async def listen():
        numbers, sending = [], in_thread(send)
        while len(numbers) < 300:
            async with listening(alpine, token, numbers[-1] if numbers else 0) as found:
                await heard(found)
                some = 1 + len(numbers) % 17
                numbers += await feeds(found, min(some, 300 - len(numbers)))
        await sending
        return numbers

    assert asyncio.run(listen()) == [*range(1, 301)]


def test_a_replay_has_an_end(alpine, monkeypatch):
    monkeypatch.setattr(hub_module, "REPLAY", 10)
    alpine.deliver(a_book(0, 11))
    token = alpine.token()

    async def listen(since):
        async with listening(alpine, token, since) as found:
            await heard(found)
            first = await heard(found)
            return first.get("feed", first["type"])

    assert asyncio.run(listen(0)) == "snapshot_required"
    assert asyncio.run(listen(1)) == 2
    assert asyncio.run(listen(12)) == "snapshot_required"  # he knows more than we: another store


def test_five_sockets_an_account_and_no_sixth(alpine):
    token, other = alpine.token(), alpine.token("elite")

    async def listen():
        held = [await connect(address(alpine), proxy=None) for _ in range(5)]
        for found in held:
            await found.send(json.dumps({"token": token}))
            await heard(found)
        async with listening(alpine, token) as sixth:
            assert await code(sixth) == 4429
        async with listening(alpine, other) as another:
            assert (await heard(another))["type"] == "hello"
        await asyncio.gather(*(found.close() for found in held))

    asyncio.run(listen())


def test_a_token_that_ends_closes_its_sockets_and_no_others(alpine):
    for name in ("one", "two"):
        alpine.token("pro", f"{name}@example.com")
    one = [alpine.token("pro", "one@example.com") for _ in range(2)]
    two = alpine.token("pro", "two@example.com")

    async def listen():
        async with (
            listening(alpine, one[0]) as a,
            listening(alpine, one[1]) as b,
            listening(alpine, two) as c,
        ):
            for found in (a, b, c):
                await heard(found)
            await in_thread(alpine.ask, "/api/auth/logout", one[0], "POST")
            assert await code(a) == 4401
            said = {"old": PASSWORD, "new": "a better password"}
            await in_thread(alpine.post, "/api/auth/password", said, one[1])
            assert await code(b) == 4401
            await in_thread(alpine.deliver, a_book(0, 1))
            assert await feeds(c, 1) == [1]

    asyncio.run(listen())


@pytest.mark.parametrize("change", ["DELETE FROM tokens", "UPDATE users SET plan = 'free'"])
def test_what_another_process_changed_is_noticed_at_the_next_look(alpine, change):
    token = alpine.token()

    async def listen():
        async with listening(alpine, token) as found:
            await heard(found)
            await alpine.soon(alpine.alpine.hub.recheck())
            with alpine.alpine.database.transaction() as session:
                session.execute(text(change))
            await in_thread(alpine.deliver, a_book(0, 1))
            assert await feeds(found, 1) == [1]  # not looked yet
            await alpine.soon(alpine.alpine.hub.recheck())
            return await code(found)

    assert asyncio.run(listen()) == 4401
    assert hub_module.RECHECK <= 60


def test_what_another_instance_takes_in_is_heard_here(tmp_path, database_url):
    with running(tmp_path, database_url) as one, running(tmp_path, database_url) as two:
        token = one.token()

        async def listen():
            async with listening(one, token) as found:
                await heard(found)
                await in_thread(two.deliver, a_book(0, 2))
                return await feeds(found, 2)

        assert asyncio.run(listen()) == [1, 2]


def test_two_hundred_sockets_are_held_and_all_are_told(alpine):
    tokens = [alpine.token("pro", f"user{n}@example.com") for n in range(40)]

    async def listen():
        gates = [connect(address(alpine), proxy=None, open_timeout=60) for _ in range(200)]
        held = [await gate for gate in gates]
        for n, found in enumerate(held):
            await found.send(json.dumps({"token": tokens[n // 5]}))
        for found in held:
            await heard(found)
        assert len(alpine.alpine.hub.clients) == 200
        await in_thread(alpine.deliver, a_book(0, 5))
        numbers = await asyncio.gather(*(feeds(found, 5) for found in held))
        await asyncio.gather(*(found.close() for found in held))
        return numbers

    assert asyncio.run(listen()) == [[1, 2, 3, 4, 5]] * 200


# -- whoever does not read -------------------------------------------------------------------------


def slow_socket(alpine):
    """A socket that takes almost nothing while nobody reads from it."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    found.connect(("127.0.0.1", int(alpine.url.rpartition(":")[2])))
    found.setblocking(False)
    return found


async def stalled(alpine, deliveries=80, size=40):
    """What a reader hears that stood still, and another that did not; and the end of the first."""
    slow_token, token = alpine.token("elite"), alpine.token()
    book, slow_numbers, numbers = a_book(0, deliveries * size, why="x" * 15_000), [], []
    raw = slow_socket(alpine)
    async with (
        listening(alpine, slow_token, sock=raw, max_queue=1) as slow,
        listening(alpine, token) as quick,
    ):
        await heard(slow)
        await heard(quick)
        for first in range(1, deliveries * size, size):
            await in_thread(alpine.send, book.batch(first, first + size - 1))
            numbers += await feeds(quick, size)
            if len(alpine.alpine.hub.clients) == 1:
                break
        ended = None
        try:
            while not slow_numbers or slow_numbers[-1] < numbers[-1]:
                slow_numbers += await feeds(slow, 1)
        except ConnectionClosed as closed:
            ended = closed.rcvd.code if closed.rcvd else None
    return slow_numbers, numbers, ended


def test_a_slow_reader_is_closed_and_never_skipped(tmp_path):
    with running(tmp_path) as alpine:
        slow, quick, ended = asyncio.run(stalled(alpine))
    assert quick == [*range(1, len(quick) + 1)]  # nobody else noticed
    assert slow == quick[: len(slow)] and len(slow) < len(quick)
    assert ended == 1013


def test_a_naive_broadcast_would_be_caught_skipping(tmp_path, monkeypatch):
    """Positive control: drop what does not fit, as so many do, and the gap is seen."""

    def naive(self, frame):
        try:
            self.queue.put_nowait(frame)
        except QueueFull:
            self.queue.get_nowait()
            self.queue.put_nowait(frame)

    monkeypatch.setattr(Client, "offer", naive)
    monkeypatch.setattr(socket_module, "SEND", 60.0)
    with running(tmp_path) as alpine:
        slow, quick, _ = asyncio.run(stalled(alpine, deliveries=16))
    assert slow != quick[: len(slow)]


def test_the_queue_holds_exactly_what_it_says():
    client = Client(None, None, "", Queue(QUEUE))
    for number in range(QUEUE):
        client.offer({"feed": number})
    assert not client.ended.is_set()
    client.offer({"feed": QUEUE})
    assert (client.ended.is_set(), client.code, client.queue.qsize()) == (True, 1013, QUEUE)
