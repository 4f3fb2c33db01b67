"""Health tells the truth, and says why."""

from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from argo_alpine.domain import UnavailableBroker
from argo_alpine.moments import Mode
from services.argo.routes.health import HUNG
from tests.served import serving


@pytest.fixture
def served(tmp_path):
    with serving(tmp_path / "book.sqlite", days=1) as it:
        yield it


def health(served):
    reply = served.ask("/health")
    return reply.status_code, reply.json()


def scraped(served):
    reply = served.ask("/metrics")
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/plain")
    found = text_string_to_metric_families(reply.text)
    return {(s.name, *s.labels.values()): s.value for family in found for s in family.samples}


def test_all_is_well_when_all_is_well(served):
    code, said = health(served)
    assert (code, said["status"], said["problems"]) == (200, "ok", [])
    assert said["sandbox"] is True
    assert (said["mode"], said["reconciled"], said["latched"]) == ("ACTIVE", True, False)
    assert (said["sources_ok"], said["sources_enabled"]) == (4, 4)
    assert set(said["turnout"]) == {"AAPL", "IBM", "MSFT", "GOOG"}
    assert said["version"].startswith("weighted-consensus-6.0-")
    assert said["at"].endswith("Z")
    assert said["head_seq"] == served.engine.status.head.seq
    assert said["head_id"] == served.engine.status.head.id
    assert said["auto_execute"] is True


def test_an_engine_that_never_cycled_is_down(tmp_path):
    with serving(tmp_path / "book.sqlite") as served:
        code, said = health(served)
    assert (code, said["status"]) == (503, "down")
    assert "the engine has not finished a cycle yet" in said["problems"]
    assert (said["mode"], said["age_seconds"], said["cycle_ms"]) == (None, None, None)


def test_a_failed_engine_is_down_and_says_of_what(served):
    served.engine.status = replace(served.engine.status, state="failed", error="KeyError: 'x'")
    code, said = health(served)
    assert (code, said["status"]) == (503, "down")
    assert "the engine has failed: KeyError: 'x'" in said["problems"]


@pytest.mark.parametrize(("age", "status"), [(HUNG, "ok"), (HUNG + 1, "down")])
def test_an_engine_that_hangs_is_down_after_half_a_minute(served, age, status):
    served.stage.clock.move(age)
    code, said = health(served)
    assert (said["status"], code) == (status, 503 if status == "down" else 200)
    assert any("hangs" in problem for problem in said["problems"]) == (status == "down")


def test_one_source_that_fails_degrades_and_all_of_them_are_down(served):
    served.runners["sonar"].turns("failing", error="HTTP 500", failures=2)
    code, said = health(served)
    assert (code, said["status"], said["sources_ok"]) == (200, "degraded", 3)
    assert said["problems"] == ["sonar fails: HTTP 500"]
    for runner in served.runners.values():
        runner.turns("open")
    code, said = health(served)
    assert (code, said["status"], said["sources_ok"]) == (503, "down", 0)
    assert "no source answers" in said["problems"]


def test_a_source_that_is_off_is_not_counted_and_no_source_is_down(served):
    engine = served.engine
    engine.plan = replace(engine.plan, sources=("massive",))
    code, said = health(served)
    assert (code, said["status"]) == (200, "ok")
    assert (said["sources_ok"], said["sources_enabled"]) == (1, 1)
    assert [s["state"] for s in said["sources"]] == ["ok", "off", "off", "off"]
    engine.plan = replace(engine.plan, sources=())
    code, said = health(served)
    assert (code, said["problems"]) == (503, ["no source is switched on"])


def test_a_source_nobody_fetches_from_is_not_well(served):
    served.app.state.runners = [served.runners[n] for n in ("massive", "sonar", "x_sentiment")]
    _, said = health(served)
    assert said["status"] == "degraded"
    assert said["problems"] == ["alpha_vantage fails: nobody asks it"]


def test_a_source_without_a_key_is_missed_by_name(served):
    engine, settings = served.engine, served.app.state.settings
    sonar = settings.sonar.model_copy(update={"api_key": SecretStr("")})
    served.app.state.settings = settings.model_copy(update={"sonar": sonar})
    engine.plan = replace(engine.plan, sources=("massive", "alpha_vantage", "x_sentiment"))
    served.app.state.runners = [r for name, r in served.runners.items() if name != "sonar"]
    code, said = health(served)
    assert (code, said["status"]) == (200, "degraded")
    assert (said["sources_ok"], said["sources_enabled"]) == (3, 4)
    (problem,) = said["problems"]
    assert problem.startswith("sonar fails: it has no key")


def test_a_silent_broker_is_down_only_while_the_books_are_not_compared(served, monkeypatch):
    def silent(*_):
        raise UnavailableBroker("no answer in 5 s")

    monkeypatch.setattr(served.stage.broker, "account", silent)
    served.engine.cycle()
    code, said = health(served)
    assert (code, said["status"]) == (200, "degraded")
    assert any("does not say what the account holds" in problem for problem in said["problems"])
    monkeypatch.setattr(served.stage.broker, "positions", silent)
    served.stage.clock.move(31)
    served.stage.quote(served.stage.bars.close[served.stage.t])
    served.engine.cycle()
    code, said = health(served)
    assert (code, said["status"], said["reconciled"]) == (503, "down", False)
    assert any("the broker does not answer" in problem for problem in said["problems"])
    assert "the engine waits: no answer in 5 s" in said["problems"]


def test_frozen_latched_halted_and_blocked_are_told(served):
    now = served.engine.status
    served.engine.status = replace(
        now,
        frozen={"IBM": "we hold 5, the broker says 0"},
        book=replace(now.book, latched=True, mode=Mode.HALTED),
        account=replace(now.account, active=False, blocks=("trading_blocked",)),
    )
    code, said = health(served)
    assert (code, said["status"], said["mode"]) == (200, "degraded", "HALTED")
    assert said["frozen"] == {"IBM": "we hold 5, the broker says 0"}
    text = "; ".join(said["problems"])
    for words in ("IBM is frozen", "kill latch", "HALTED", "trading_blocked"):
        assert words in text


def test_an_old_quote_is_a_problem_only_while_the_exchange_is_open(served):
    stage = served.stage
    stage.close()
    stage.engine.cycle()
    _, said = health(served)
    assert (said["status"], said["is_open"]) == ("ok", False)
    stage.at(stage.closed[stage.t + 1].replace(hour=16))
    stage.engine.cycle()
    _, said = health(served)
    assert (said["status"], said["is_open"]) == ("degraded", True)
    assert [p for p in said["problems"] if p.startswith("AAPL: no_price: massive's last quote is")]


def test_a_book_that_cannot_be_read_is_down_and_the_answer_is_whole(served):
    with served.stage.writer.engine.connect() as connection:
        connection.exec_driver_sql("ALTER TABLE entries RENAME TO lost")
        connection.commit()
    code, said = health(served)
    assert (code, said["status"]) == (503, "down")
    assert "the book cannot be read" in said["problems"]
    assert said["cycles"] > 0
    metrics = scraped(served)
    assert metrics[("argo_up",)] == 0
    assert ("argo_signals_total",) not in metrics


def test_metrics_say_what_health_says(served):
    served.runners["sonar"].turns("failing", failures=4)
    metrics = scraped(served)
    status = served.engine.status
    assert metrics[("argo_up",)] == 1
    assert metrics[("argo_cycles_total",)] == status.cycles
    assert metrics[("argo_reconciled",)] == 1
    assert metrics[("argo_source_ok", "massive")] == 1
    assert metrics[("argo_source_ok", "sonar")] == 0
    assert metrics[("argo_source_failures", "sonar")] == 4
    assert metrics[("argo_turnout", "AAPL")] == status.opinions["AAPL"].turnout
    assert metrics[("argo_equity",)] == status.account.equity
    assert metrics[("argo_journal_seq",)] == status.head.seq
    assert metrics[("argo_signals_total",)] == 2
    assert metrics[("argo_orders_total", "filled")] == 2
    assert metrics[("argo_heartbeat_age_seconds",)] == 0
    assert metrics[("argo_outbox_waiting",)] > 0
    assert ("argo_trades_total",) in metrics
    assert ("argo_cycle_seconds",) in metrics


def test_what_is_not_known_is_left_out_of_the_metrics(tmp_path):
    with serving(tmp_path / "book.sqlite") as served:
        metrics = scraped(served)
    assert metrics[("argo_up",)] == 0
    assert metrics[("argo_cycles_total",)] == 0
    for name in ("argo_equity", "argo_cycle_seconds", "argo_heartbeat_age_seconds"):
        assert (name,) not in metrics


def test_two_scrapes_do_not_meet(served):
    assert scraped(served).keys() == scraped(served).keys()


def test_the_api_describes_itself(served):
    paths = served.get("/openapi.json")["paths"]
    assert {"/health", "/metrics", "/api/signals/latest", "/api/log/proof/{seq}"} <= paths.keys()
    assert all(set(path) == {"get"} for path in paths.values())
