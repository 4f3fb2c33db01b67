"""Whatever a service answers, a reader gets a value or a sentence."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fastapi import FastAPI, Request, Response

from dashboards import client
from tests.served import listening

ALPINE = "ARGO_DASHBOARD__ALPINE_URL"


@contextmanager
def answering(
    monkeypatch: pytest.MonkeyPatch, status: int, body: object, **headers: str
) -> Iterator[None]:
    """A service with one answer."""
    app = FastAPI()
    text = body if isinstance(body, str) else json.dumps(body)

    @app.api_route("/{path:path}", methods=["GET", "POST", "PATCH"])
    def answer(path: str, request: Request) -> Response:
        return Response(text, status, headers)

    with listening(app) as url:
        monkeypatch.setenv(ALPINE, url)
        yield


CASES = [
    (500, "<html>oops", client.Down, "It replied with 500"),
    (503, {"detail": "the book cannot be read", "id": "abc"}, client.Down, "cannot be read (abc)"),
    (200, "<html>", client.Down, "is not Alpine"),
    (200, {"other": 1}, client.Down, "another version"),
    (200, [1], client.Down, "another version"),
    (302, "", client.Down, "It replied with 302"),
    (401, {"detail": "no"}, client.SignedOut, "sign in again"),
    (403, {"detail": "your plan has none"}, client.Declined, "Your plan has none."),
    (404, "", client.Declined, "refuses this (404)"),
    (422, {"detail": [{"loc": ["body", "a"], "msg": "no day"}]}, client.Declined, "A: no day."),
    (429, {"detail": "3 wait"}, client.Declined, "3 wait. Try again in 60 seconds."),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "kind", "words"), CASES)
def test_an_answer_that_is_none_becomes_a_sentence(
    here: None, monkeypatch: pytest.MonkeyPatch, status: int, body: object, kind: type, words: str
) -> None:
    with (
        answering(monkeypatch, status, body, **{"Retry-After": "60"}),
        pytest.raises(kind) as caught,
    ):
        client.subscribed("a-secret-token")
    assert words in str(caught.value)
    assert "a-secret-token" not in str(caught.value)


def test_an_error_is_never_kept(here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(monkeypatch, 500, ""), pytest.raises(client.Down):
        client.subscribed("t")
    with answering(monkeypatch, 200, {"items": []}):
        assert client.subscribed("t") == {"items": []}


def test_an_answer_is_never_shown_to_another_token(stage) -> None:
    assert client.account("a-token")["email"]
    with pytest.raises(client.SignedOut):
        client.account("another")


def test_a_page_too_large_is_declined(here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "LARGEST", 10)
    with answering(monkeypatch, 200, "x" * 11), pytest.raises(client.Declined, match="larger"):
        client.report("/api/reports/a", "t")
