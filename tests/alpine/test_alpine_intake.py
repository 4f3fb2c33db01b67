"""What Argo sends arrives once, whole and in order, or not at all."""

import json
from itertools import permutations, product

import pytest

from argo_alpine.records import digest
from services.alpine import intake
from services.alpine.routes import intake as route
from services.common.signing import signed
from tests.alpine_stage import (
    KEY,
    OTHER_KEY,
    Book,
    a_signal,
    bought,
    running,
    sold,
)


def a_book(count=6, **about):
    book = Book(**about)
    for number in range(count):
        book.tell(a_signal(number))
    return book


def kept(alpine):
    return alpine.rows("SELECT n, hash, body FROM feed ORDER BY id")


def sent(book):
    return [(m["n"], m["hash"], m["body"]) for m in book.messages]


def test_every_kind_of_message_is_kept_as_it_came(alpine):
    book, signal = Book(), a_signal(1)
    entry = bought(signal)
    book.tell(signal, entry, *sold(entry, 42.0, "target"))
    book.tell({"at": signal.at, "equity": 100_200.0, "cash": 50_000.0})
    assert alpine.send(book.batch()).json() == {"high": 5}
    assert kept(alpine) == sent(book)


def test_an_empty_batch_asks_how_far_we_are(alpine):
    book = a_book(3)
    assert alpine.send(book.batch(1, 0)).json() == {"high": 0}
    alpine.deliver(book)
    assert alpine.send(book.batch(4)).json() == {"high": 3}
    assert len(kept(alpine)) == 3


def test_a_batch_sent_twice_is_taken_once(alpine):
    book = a_book()
    first, second = alpine.send(book.batch()), alpine.send(book.batch())
    assert first.json() == second.json() == {"high": 6}
    assert kept(alpine) == sent(book)


def test_batches_that_overlap_leave_each_message_once(alpine):
    book = a_book()
    for first, last in ((1, 3), (2, 5), (1, 6)):
        assert alpine.send(book.batch(first, last)).json() == {"high": last}
    assert kept(alpine) == sent(book)


def test_a_gap_names_the_message_to_go_back_to(alpine):
    book = a_book()
    alpine.send(book.batch(1, 2))
    reply = alpine.send(book.batch(4, 6))
    assert (reply.status_code, reply.json()["expected"]) == (409, 3)
    assert len(kept(alpine)) == 2


def test_batches_in_any_order_end_in_the_same_book_when_the_relay_goes_back(alpine):
    pieces = ((1, 2), (3, 4), (5, 6))
    for number, order in enumerate(permutations(pieces)):
        book = Book(epoch=f"{number:064x}")
        book.tell(*(a_signal(100 * number + n) for n in range(6)))
        for first, last in order:
            alpine.send(book.batch(first, last))
        high = alpine.send(book.batch(7)).json()["high"]
        alpine.send(book.batch(high + 1))
        rows = alpine.rows(
            f"SELECT n, hash, body FROM feed WHERE epoch = '{book.epoch}' ORDER BY id"
        )
        assert rows == sent(book)


def test_another_message_under_a_known_number_is_a_conflict_and_audited(alpine):
    book, other = a_book(3), Book()
    alpine.deliver(book)
    other.tell(a_signal(0), a_signal(77), a_signal(2), a_signal(3))
    reply = alpine.send(other.batch())
    assert (reply.status_code, reply.json()["conflict"]) == (409, 2)
    assert kept(alpine) == sent(book)  # not one of them, the new one neither
    assert [row.event for row in alpine.rows("SELECT event FROM audit")] == ["intake_conflict"]


def test_a_known_message_under_another_number_is_a_conflict(alpine):
    book = a_book(3)
    alpine.deliver(book)
    again = book.messages[0] | {"n": 4}
    reply = alpine.send({**book.batch(4), "messages": [again]})
    assert (reply.status_code, reply.json()["conflict"]) == (409, 4)


def test_a_sandbox_never_passes_for_the_real_thing(alpine):
    book = a_book(2)
    alpine.deliver(book)
    book.tell(a_signal(9))
    reply = alpine.send(book.batch(3) | {"sandbox": False})
    assert reply.status_code == 409
    assert len(kept(alpine)) == 2


def test_every_flipped_bit_is_noticed(alpine):
    book = a_book(1)
    size = len(json.dumps(book.batch()))
    for place in range(0, size, 37):

        def flip(body, place=place):
            return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]

        assert alpine.send(book.batch(), spoil=flip).status_code == 401
    assert kept(alpine) == []


@pytest.mark.parametrize(("late", "status"), [(300, 200), (301, 401), (-300, 200), (-301, 401)])
def test_a_signature_counts_for_five_minutes_either_way(alpine, late, status):
    assert alpine.send(a_book(1).batch(), late=late).status_code == status


def test_old_messages_under_a_new_signature_are_taken(alpine):
    book = a_book(2)
    alpine.clock.move(90 * 86_400)
    assert alpine.send(book.batch()).json() == {"high": 2}


def test_somebody_elses_key_opens_nothing(alpine):
    assert alpine.send(a_book(1).batch(), key=OTHER_KEY).status_code == 401
    assert alpine.rows("SELECT * FROM audit") == []  # strangers do not fill the disk


def test_two_keys_count_while_one_takes_over(tmp_path, database_url):
    with running(tmp_path, database_url, intake_key=f"{OTHER_KEY},{KEY}") as alpine:
        book = a_book(2)
        assert alpine.send(book.batch(1, 1), key=KEY).status_code == 200
        assert alpine.send(book.batch(2, 2), key=OTHER_KEY).status_code == 200


def test_a_header_that_is_missing_or_odd_is_a_401(alpine):
    body = json.dumps(a_book(1).batch())
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    odd = (None, "", "v1", "v1,", "v1,!!!", "v1 , ,", "1e3", "-1", "9" * 40, "x" * 5000)
    for name, instead in product(names, odd):
        headers = signed([KEY], "msg", alpine.clock.wall(), body) | {name: instead}
        reply = alpine.ask("/api/intake", None, "POST", data=body, headers=headers)
        assert reply.status_code == 401, (name, instead)


def message(**changes):
    book = a_book(1)
    return book.batch() | {"messages": [book.messages[0] | changes]}


def forged(body, kind="signal"):
    """A message whose hash is right and whose content is not."""
    entry = digest("entry")
    said = {"body": body, "kind": kind, "entry": entry, "hash": digest((entry, kind, body))}
    return message(**said)


GOOD = json.loads(a_book(1).messages[0]["body"])


def canonical_json(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


MALFORMED = {
    "no json": "{",
    "no object": "[]",
    "empty": "{}",
    "more keys": a_book(1).batch() | {"extra": 1},
    "wrong epoch": a_book(1).batch() | {"epoch": "x"},
    "from zero": a_book(1).batch() | {"from": 0},
    "huge number": a_book(1).batch() | {"from": 2**63},
    "out of order": a_book(3).batch() | {"messages": a_book(3).messages[::-1]},
    "a hole": a_book(3).batch() | {"messages": a_book(3).messages[::2]},
    "not from there": a_book(3).batch() | {"from": 2},
    "too many": a_book(101).batch(),
    "number as text": message(n="1"),
    "unknown kind": message(kind="order"),
    "wrong hash": message(hash="0" * 64),
    "another body": message(body="{}"),
    "body no json": forged("{"),
    "body deep": forged("[" * 20_000),
    "body of another kind": forged(canonical_json(GOOD), "fill"),
    "not canonical": forged(json.dumps(GOOD)),
    "NaN": forged(canonical_json(GOOD | {"entry": "nan"})),
    "infinite": forged(canonical_json(GOOD | {"stop": "inf"})),
    "symbol a list": forged(canonical_json(GOOD | {"symbol": ["AAPL"]})),
    "symbol long": forged(canonical_json(GOOD | {"symbol": "A" * 9})),
    "symbol markup": forged(canonical_json(GOOD | {"symbol": "<b>"})),
    "id odd": forged(canonical_json(GOOD | {"id": "../x"})),
    "id a number": forged(canonical_json(GOOD | {"id": 7})),
    "confidence": forged(canonical_json(GOOD | {"confidence": "101.0"})),
    "neutral": forged(canonical_json(GOOD | {"direction": "NEUTRAL"})),
    "no zone": forged(canonical_json(GOOD | {"at": "2005-03-01T21:00:00.000000"})),
    "missing field": forged(canonical_json({k: v for k, v in GOOD.items() if k != "stop"})),
    "NUL": forged(
        canonical_json(
            GOOD
            | {
                "consensus": GOOD["consensus"]
                | {"votes": [GOOD["consensus"]["votes"][0] | {"why": "a\x00b"}]}
            }
        )
    ),
}


def test_what_argo_would_never_send_is_a_422_and_leaves_nothing(alpine):
    for case, said in MALFORMED.items():
        reply = alpine.send(said)
        assert reply.status_code == 422, (case, reply.text)
        assert kept(alpine) == [], case


def test_the_forger_of_these_tests_can_also_be_believed(alpine):
    assert alpine.send(forged(canonical_json(GOOD))).status_code == 200


def test_more_than_a_mebibyte_is_too_large(alpine):
    assert alpine.send(" " * (1024 * 1024 + 1)).status_code == 413
    assert alpine.send(json.dumps(a_book(1).batch()) + " " * 900_000).status_code == 200


def test_after_an_outage_everything_is_caught_up(tmp_path, database_url):
    book = a_book(450)
    with running(tmp_path, database_url) as alpine:
        alpine.send(book.batch(1, 100))
    with running(tmp_path, database_url) as alpine:  # it was down meanwhile
        high = alpine.send(book.batch(451)).json()["high"]
        assert high == 100
        while high < 450:
            high = alpine.send(book.batch(high + 1, high + 100)).json()["high"]
        assert kept(alpine) == sent(book)


def test_a_book_that_begins_anew_sends_its_signals_anew(alpine):
    old, new = a_book(3), a_book(3, epoch="f" * 64)
    alpine.deliver(old)
    alpine.deliver(new)
    token = alpine.token()
    items = alpine.get("/api/signals/history", token)["items"]
    assert [item["feed"] for item in items] == [6, 5, 4]
    real = a_book(1, epoch="e" * 64, sandbox=False)
    alpine.deliver(real)
    assert [i["sandbox"] for i in alpine.get("/api/signals/history", token)["items"]] == []


def test_without_the_conflict_check_a_second_truth_would_be_taken(alpine, monkeypatch):
    """Positive control: the test above fails when conflicts are overlooked."""
    monkeypatch.setattr(intake, "conflict", lambda session, batch, high: None)
    book, other = a_book(3), Book()
    alpine.deliver(book)
    other.tell(a_signal(0), a_signal(77), a_signal(2), a_signal(3))
    assert alpine.send(other.batch()).status_code == 200


def test_without_the_signature_check_a_flipped_bit_would_pass(alpine, monkeypatch):
    """Positive control: the bit flips above are found by the signature, not by luck."""
    monkeypatch.setattr(route, "verify", lambda *_: None)
    book = Book()
    book.tell(a_signal(1))
    said = json.dumps(book.batch())
    place = said.index('"seq": 10') + len('"seq": 1')

    def flip(body):
        return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]

    assert alpine.send(book.batch(), spoil=flip).status_code == 200
