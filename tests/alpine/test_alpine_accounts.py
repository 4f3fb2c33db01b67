"""Who may come in, and what somebody learns who may not."""

from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import pytest

from services.alpine import accounts
from services.alpine.accounts import ACCOUNT, ADDRESS, HASHER, Limit
from tests.alpine_stage import PASSWORD, running

EMAIL = "somebody@example.com"


def sign_up(alpine, email=EMAIL, password=PASSWORD):
    return alpine.post("/api/auth/signup", {"email": email, "password": password})


def sign_in(alpine, email=EMAIL, password=PASSWORD):
    return alpine.post("/api/auth/login", {"email": email, "password": password})


def entered(alpine, email=EMAIL, password=PASSWORD):
    reply = sign_in(alpine, email, password)
    assert reply.status_code == 200, reply.text
    return reply.json()["token"]


def is_in(alpine, token):
    return alpine.ask("/api/account", token).status_code == 200


def test_from_signing_up_to_signing_out(alpine):
    assert sign_up(alpine).status_code == 202
    said = sign_in(alpine, EMAIL.upper()).json()
    assert (said["plan"], said["email"], said["zone"]) == ("free", EMAIL, "UTC")
    assert is_in(alpine, said["token"])
    assert alpine.ask("/api/auth/logout", said["token"], "POST").status_code == 200
    assert not is_in(alpine, said["token"])
    events = [row.event for row in alpine.rows("SELECT event FROM audit ORDER BY id")]
    assert events == ["signup", "signin", "signout"]


def test_neither_password_nor_token_is_kept_in_clear(alpine):
    sign_up(alpine)
    token = entered(alpine)
    (user,) = alpine.rows("SELECT * FROM users")
    (kept,) = alpine.rows("SELECT * FROM tokens")
    assert user.password.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert (len(token), kept.hash) == (43, accounts.digest_of(token))
    everything = repr(
        [alpine.rows(f"SELECT * FROM {t}") for t in ("users", "tokens", "audit", "attempts")]
    )
    assert PASSWORD not in everything and token not in everything
    assert "127.0.0.1" not in everything


def test_signing_up_says_the_same_to_a_known_address(alpine):
    first, second = sign_up(alpine), sign_up(alpine, password="another password")
    assert (first.status_code, first.json()) == (second.status_code, second.json())
    assert sign_in(alpine, password="another password").status_code == 401
    assert sign_in(alpine).status_code == 200


def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(alpine):
    sign_up(alpine)
    wrong, unknown = sign_in(alpine, password="wrong one"), sign_in(alpine, "nobody@example.com")
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json()["detail"] == unknown.json()["detail"]
    names = {"x-request-id", "date"}
    assert {k: v for k, v in wrong.headers.items() if k.lower() not in names} == {
        k: v for k, v in unknown.headers.items() if k.lower() not in names
    }


def test_an_unknown_address_costs_as_many_hashes(alpine, monkeypatch):
    sign_up(alpine)
    hashes = []
    real = type(HASHER).verify

    def counted(self, *words):
        hashes.append(words[1][:30])
        return real(self, *words)

    monkeypatch.setattr(type(HASHER), "verify", counted)
    sign_in(alpine, password="wrong one")
    sign_in(alpine, "nobody@example.com")
    assert len(hashes) == 2 and hashes[0] == hashes[1]  # of the same cost


def test_the_sixth_failure_in_a_row_waits_and_waits_longer(alpine):
    sign_up(alpine)
    for _ in range(5):
        assert sign_in(alpine, password="wrong one").status_code == 401
    reply = sign_in(alpine)
    assert reply.status_code == 429  # the right one too: nothing is learnt
    assert reply.headers["retry-after"] == "1"
    waits = []
    for _ in range(8):
        alpine.clock.move(int(sign_in(alpine).headers["retry-after"]))
        assert sign_in(alpine, password="wrong one").status_code == 401
        waits.append(int(sign_in(alpine).headers["retry-after"]))
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]  # a victim waits a minute at most
    alpine.clock.move(60)
    assert sign_in(alpine).status_code == 200
    assert sign_in(alpine, password="wrong one").status_code == 401  # counted from one again


def test_an_unknown_address_waits_the_same(alpine):
    answers = [sign_in(alpine, "nobody@example.com").status_code for _ in range(6)]
    assert answers == [401] * 5 + [429]


def test_waiting_survives_a_restart(tmp_path, database_url):
    with running(tmp_path, database_url) as alpine:
        for _ in range(5):
            sign_in(alpine)
        assert sign_in(alpine).status_code == 429
    with running(tmp_path, database_url) as alpine:
        assert sign_in(alpine).status_code == 429


def test_a_hundred_guesses_at_once_are_not_a_hundred_tries(alpine):
    sign_up(alpine)
    with ThreadPoolExecutor(20) as pool:
        replies = [*pool.map(lambda n: sign_in(alpine, password=f"guess {n} of many"), range(100))]
    checked = [r for r in replies if r.status_code == 401]
    assert len(checked) <= ACCOUNT.free
    assert {r.status_code for r in replies} <= {401, 429}


def test_an_address_that_tries_many_accounts_waits_too(alpine, monkeypatch):
    monkeypatch.setattr(accounts, "ADDRESS", Limit(8, 60.0))
    forged = {"x-forwarded-for": "10.9.8.7", "forwarded": "for=10.9.8.7"}
    answers = [
        alpine.ask(
            "/api/auth/login",
            None,
            "POST",
            json={"email": f"user{n}@example.com", "password": PASSWORD},
            headers=forged,
        ).status_code
        for n in range(10)
    ]
    assert answers == [401] * 8 + [429] * 2
    assert ADDRESS.free > ACCOUNT.free


def test_a_token_ends_when_it_is_not_used(alpine):
    token = alpine.token()
    for _ in range(5):
        alpine.clock.move(23 * 3600)
        assert is_in(alpine, token)
    alpine.clock.move(24 * 3600)
    assert not is_in(alpine, token)


def test_a_token_ends_however_much_it_is_used(alpine):
    token = alpine.token()
    for _ in range(30 * 2 - 1):
        alpine.clock.move(12 * 3600)
        assert is_in(alpine, token)
    alpine.clock.move(12 * 3600)
    assert not is_in(alpine, token)


def test_another_password_ends_every_token(alpine):
    sign_up(alpine)
    tokens = [entered(alpine) for _ in range(3)]
    said = {"old": PASSWORD, "new": "a better password"}
    assert alpine.post("/api/auth/password", said | {"old": "wrong"}, tokens[0]).status_code == 401
    assert all(is_in(alpine, token) for token in tokens)
    assert alpine.post("/api/auth/password", said, tokens[0]).status_code == 200
    assert not any(is_in(alpine, token) for token in tokens)
    assert sign_in(alpine).status_code == 401
    assert is_in(alpine, entered(alpine, password="a better password"))


def test_the_time_zone_is_the_subscribers_own(alpine):
    token = alpine.token()
    reply = alpine.ask("/api/account", token, "PATCH", json={"zone": "Europe/Berlin"})
    assert reply.json()["zone"] == "Europe/Berlin"
    assert alpine.get("/api/account", token)["zone"] == "Europe/Berlin"
    for odd in ("Mars/Base", "../etc/passwd", "", 5, None):
        assert alpine.ask("/api/account", token, "PATCH", json={"zone": odd}).status_code == 422


@pytest.mark.parametrize(
    "extra", [{"plan": "elite"}, {"tier": "elite"}, {"id": 1}, {"created_at": "2000-01-01"}]
)
def test_nobody_gives_himself_a_plan(alpine, extra):
    token = alpine.token("free")
    said = {"email": EMAIL, "password": PASSWORD}
    assert alpine.post("/api/auth/signup", said | extra).status_code == 422
    assert (
        alpine.ask("/api/account", token, "PATCH", json={"zone": "UTC", **extra}).status_code == 422
    )
    assert alpine.get("/api/account", token)["plan"] == "free"


def test_accounts_can_be_given_out_by_the_operator_only(tmp_path, database_url):
    with running(tmp_path, database_url, signup=False) as alpine:
        assert sign_up(alpine).status_code == 403
        assert alpine.alpine.doors.keep(EMAIL, PASSWORD, "pro") is True
        token = entered(alpine)
        assert alpine.get("/api/account", token)["plan"] == "pro"
        assert alpine.alpine.doors.keep(EMAIL, None, "free") is False
        assert alpine.get("/api/account", token)["plan"] == "free"
        assert alpine.alpine.doors.keep(EMAIL, "yet another one", "free") is False
        assert not is_in(alpine, token)


def test_many_who_sign_in_keep_nobody_else_waiting(alpine):
    for n in range(4):
        sign_up(alpine, f"user{n}@example.com")
    token = alpine.token()
    with ThreadPoolExecutor(60) as pool:
        waiting = [pool.submit(sign_in, alpine, f"user{n % 4}@example.com") for n in range(60)]
        seconds = []
        while not all(future.done() for future in waiting):
            before = perf_counter()
            assert is_in(alpine, token)
            seconds.append(perf_counter() - before)
    assert sorted(seconds)[int(len(seconds) * 0.95)] < 1.0
