"""Every page in its three states: nobody there, nothing yet, a day's work."""

import re

import pytest
import streamlit as st

from dashboards import words
from tests.dashboards.conftest import OPERATOR, SUBSCRIBERS, Stage, told
from tests.dashboards.fake_api import EMAIL, HOSTILE, PASSWORD, TOKEN, argo
from tests.served import listening

FULL = {
    "signals": ("AAPL", "82.45 %", "Received", "3 of 4 sources spoke", "Entered with 24 shares"),
    "performance": ("Hypothetical", "4.31 %", "57.8 %", "37 of 64", "45.6 %", "69.1 %"),
    "backtest": ("AAPL, IBM", "Running the policy", "no bars of IBM"),
    "reports": ("too few trades to judge",),
    "account": (EMAIL.replace("@", "\\@\N{WORD JOINER}").replace(".", "\\."), "Unlimited"),
    "engine": ("2 s ago", "entry 901", "not surely enough to act", "x_sentiment fails"),
    "sources": ("Alpha Vantage", "503 from the vendor", "abstains", "40 %"),
    "risk": ("101,240.50", "GOOG: an unknown order", "39.96", "timed out, looked up by id"),
}
EMPTY = {
    "signals": "No signals yet",
    "performance": "No equity yet",
    "backtest": "No backtests yet",
    "reports": "No reports yet",
    "account": "Unlimited",
    "engine": "No decisions yet",
    "sources": "No votes yet",
    "risk": "No account yet",
}
LURES = re.compile(r"(?<!\\)(<script|<img|\[click|\*\*bold|:red\[blood|:smile|\$x)|https?:/|www\.")
EVERY = (*SUBSCRIBERS, *OPERATOR)


@pytest.mark.parametrize("page", EVERY)
def test_a_page_shows_what_there_is(stage: Stage, page: str) -> None:
    app = stage.open(page)
    assert not app.exception
    said = told(app).replace("\\", "") if page not in ("account",) else told(app)
    for expected in FULL[page]:
        assert expected in said


@pytest.mark.parametrize("page", EVERY)
def test_a_page_says_when_there_is_nothing_yet(stage: Stage, page: str) -> None:
    stage.fake.kind = "empty"
    app = stage.open(page)
    assert not app.exception
    assert EMPTY[page] in told(app)


@pytest.mark.parametrize("page", EVERY)
def test_a_page_says_who_is_not_there_and_what_to_start(alone: Stage, page: str) -> None:
    app = alone.open(page)
    assert not app.exception
    name = "Argo" if page in OPERATOR else "Alpine"
    said = told(app)
    assert f"{name} is not there" in said
    assert f"{name} does not answer at http://127.0.0.1:" in said
    assert "argo-alpine up" in said


@pytest.mark.parametrize("page", EVERY)
def test_every_page_says_sandbox_when_it_is_one_and_not_when_it_is_none(
    stage: Stage, page: str
) -> None:
    assert "SANDBOX" in told(stage.open(page))
    stage.fake.sandbox = False
    stage.open(page)  # the answer of a moment ago may still be kept
    st.cache_data.clear()
    assert "SANDBOX" not in told(stage.open(page))


@pytest.mark.parametrize("page", EVERY)
def test_foreign_text_stays_text(stage: Stage, page: str) -> None:
    stage.fake.kind = "hostile"
    app = stage.open(page)
    assert not app.exception
    read_as_markdown = [app.markdown, app.caption, app.subheader, app.error, app.title]
    for one in (one for part in read_as_markdown for one in part):
        assert not LURES.search(one.value)
        assert not getattr(one.proto, "allow_html", False)


def test_the_lures_are_seen_where_they_are_not_escaped() -> None:
    assert LURES.search(HOSTILE) and not LURES.search(words.plain(HOSTILE))


def test_the_hostile_text_does_arrive(stage: Stage) -> None:
    stage.fake.kind = "hostile"
    app = stage.open("signals")
    assert any("<script>alert(1)</script>" in one.value for one in app.text)
    assert HOSTILE[:30] in app.dataframe[0].value["symbol"].iloc[0]


@pytest.mark.parametrize("page", SUBSCRIBERS)
def test_a_stranger_sees_the_sign_in_and_nothing_else(stage: Stage, page: str) -> None:
    app = stage.open(page, token="")
    assert [one.label for one in app.text_input][:2] == ["E-mail", "Password"]
    assert not app.metric and not app.dataframe


@pytest.mark.parametrize("page", SUBSCRIBERS)
def test_a_session_that_ended_leads_back_to_the_sign_in(stage: Stage, page: str) -> None:
    app = stage.open(page, token="an old one")
    assert "Your session has ended" in told(app).replace("\\", "").replace("\N{WORD JOINER}", "")
    assert "token" not in app.session_state


def test_signing_in_opens_the_page_and_keeps_the_token_in_memory_only(stage: Stage) -> None:
    app = stage.open("signals", token="")
    app.text_input[0].input(EMAIL)
    app.text_input[1].input(PASSWORD)
    app.button[0].click().run()
    assert app.session_state["token"] == TOKEN
    assert "82.45 %" in told(app)
    assert not app.query_params
    assert TOKEN not in told(app)


def test_a_wrong_password_is_a_sentence(stage: Stage) -> None:
    app = stage.open("signals", token="")
    app.text_input[0].input(EMAIL)
    app.text_input[1].input("wrong")
    app.button[0].click().run()
    assert "The address or the password is wrong" in app.error[0].value
    assert "token" not in app.session_state


def test_signing_out_ends_the_token_there_too(stage: Stage) -> None:
    app = stage.open("account")
    next(one for one in app.button if one.label == "Sign out").click().run()
    assert not stage.fake.signed_in
    assert "You are signed out" in told(app)


def test_a_wrong_old_password_does_not_sign_out(stage: Stage) -> None:
    app = stage.open("account")
    old, new = app.text_input
    old.input("wrong")
    new.input("a very long new one")
    next(one for one in app.button if one.label == "Change").click().run()
    assert "The old password is wrong" in app.error[0].value
    assert app.session_state["token"] == TOKEN


def test_a_backtest_is_asked_for_with_the_parameters_of_the_form(stage: Stage) -> None:
    app = stage.open("backtest")
    next(one for one in app.button if one.label == "Run").click().run()
    ((kind, said),) = stage.fake.asked
    assert kind == "backtest"
    assert said["symbols"] == ["AAPL", "IBM", "MSFT", "GOOG"]
    assert (said["first"], said["last"], said["threshold"]) == ("2005-03-01", "2013-03-01", 75.0)


def test_a_free_plan_says_how_late_it_is(stage: Stage) -> None:
    stage.fake.plan, stage.fake.kind = "free", "empty"
    assert "1 day after they were made" in told(stage.open("signals"))


def test_too_few_trades_have_a_reason_and_no_rate(stage: Stage) -> None:
    stage.fake.trades = 12
    app = stage.open("performance")
    assert "12 trades are too few for a rate: it takes 30" in told(app)
    assert "Won" not in [one.label for one in app.metric]


def test_limits_of_another_policy_are_not_guessed(stage: Stage, monkeypatch) -> None:
    with listening(argo(stage.fake, "another")) as url:
        monkeypatch.setenv("ARGO_DASHBOARD__ARGO_URL", url)
        said = told(stage.open("risk"))
    assert "limits of its own" in said and "of 10 %" not in said


def test_the_operators_pages_are_for_this_machine_only(stage: Stage) -> None:
    st.config.set_option("server.address", "0.0.0.0")
    with pytest.raises(ValueError, match="engine"):
        stage.open("engine")
