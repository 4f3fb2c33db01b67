"""The thread of a source: it waits, asks, hands over and never ends by itself."""

import logging
import threading
from datetime import UTC, datetime, timedelta

import pytest

from argo_alpine.domain import Quote, UnavailableSource
from services.argo.ports import Harvest
from services.argo.sources.runner import Runner
from services.argo.sources.web import Partly
from tests.clocks import ManualClock
from tests.sources_stage import Counts

AT = datetime(2024, 3, 1, 15, 0, tzinfo=UTC)
HARVEST = Harvest(quotes=(Quote("AAPL", AT, 100.0),))


class Script:
    """A source that does what it is told, every ten seconds of market time."""

    name = "massive"

    def __init__(self, does=HARVEST):
        self.does, self.asked, self.last = does, [], None

    def due(self, at):
        return self.last is None or at - self.last >= timedelta(seconds=10)

    def fetch(self, at):
        self.asked.append(at)
        if isinstance(self.does, Exception):
            raise self.does
        self.last = at
        return self.does


class Stage:
    """A runner and all around it."""

    def __init__(self, source, **options):
        self.source, self.clock, self.meter = source, ManualClock(AT), Counts()
        self.stored = []
        put = options.pop("put", lambda name, harvest: self.stored.append((name, harvest)))
        self.runner = Runner(source, self.clock, put, self.meter, **options)

    def seconds(self, number, step=1.0):
        for _ in range(int(number / step)):
            self.runner.tick()
            self.clock.move(step)

    @property
    def health(self):
        return self.runner.health()


def test_it_asks_when_something_is_due_and_hands_it_over():
    stage = Stage(Script())
    assert stage.health.state == "waiting"
    assert stage.runner.tick()
    assert not stage.runner.tick()
    assert stage.stored == [("massive", HARVEST)]
    stage.seconds(30)
    assert len(stage.stored) == 3
    assert (stage.health.state, stage.health.failures) == ("ok", 0)
    assert stage.health.last_success == AT + timedelta(seconds=20)


def test_failures_are_spaced_one_two_and_four_seconds():
    stage = Stage(Script(UnavailableSource("gone")))
    stage.seconds(8, step=0.25)
    assert [(at - AT).total_seconds() for at in stage.source.asked] == [0, 1, 3, 7]
    assert (stage.health.state, stage.health.error) == ("failing", "gone")


def test_five_failures_open_the_breaker_and_one_probe_closes_it():
    stage = Stage(Script(UnavailableSource("gone")))
    stage.seconds(12)
    assert len(stage.source.asked) == 5
    assert stage.health.state == "open"
    assert stage.health.retry_at == stage.source.asked[-1] + timedelta(seconds=60)
    stage.seconds(50)
    assert len(stage.source.asked) == 5
    stage.source.does = HARVEST
    stage.seconds(12)
    assert len(stage.source.asked) == 6
    assert (stage.health.state, stage.health.error, stage.health.retry_at) == ("ok", "", None)


def test_an_hour_of_failures_is_a_handful_of_questions():
    stage = Stage(Script(UnavailableSource("gone")))
    stage.seconds(3600)
    assert 8 <= len(stage.source.asked) <= 12


def test_what_half_a_fetch_brought_is_kept_and_the_failure_counted():
    stage = Stage(Script(Partly(UnavailableSource("IBM is missing"), HARVEST)))
    stage.runner.tick()
    assert stage.stored == [("massive", HARVEST)]
    assert (stage.health.state, stage.health.failures) == ("failing", 1)


def test_a_clock_that_does_not_answer_is_no_fault_of_the_source(monkeypatch):
    stage = Stage(Script())

    def silent():
        raise UnavailableSource("nobody tells the time")

    monkeypatch.setattr(stage.clock, "market", silent)
    stage.seconds(60)
    assert stage.source.asked == []
    assert (stage.health.state, stage.health.error) == ("waiting", "nobody tells the time")
    assert stage.health.failures == 0
    monkeypatch.undo()
    stage.runner.tick()
    assert stage.health.state == "ok"


@pytest.mark.parametrize("bug", [ZeroDivisionError("key=secret"), KeyError("c"), RecursionError()])
def test_a_bug_is_a_failure_with_its_name_in_the_log_and_not_the_end(bug, caplog):
    stage = Stage(Script(bug))
    with caplog.at_level(logging.ERROR):
        stage.runner.tick()
    assert type(bug).__name__ in stage.health.error
    assert "secret" not in stage.health.error
    assert type(bug).__name__ in caplog.text
    stage.source.does = HARVEST
    stage.clock.move(1.0)
    assert stage.runner.tick()
    assert stage.health.state == "ok"


@pytest.mark.parametrize("where", ["due", "market", "put", "used"])
def test_a_bug_anywhere_does_not_end_the_round(where, monkeypatch, caplog):
    stage = Stage(Script())

    def bug(*words):
        raise ZeroDivisionError

    holder = {"due": stage.source, "market": stage.clock, "put": stage.runner}
    monkeypatch.setattr(holder.get(where, stage.meter), where, bug)
    with caplog.at_level(logging.ERROR):
        stage.seconds(30)
    assert "ZeroDivisionError" in caplog.text
    assert stage.health.failures == 0 if where == "used" else stage.health.failures > 0


def test_a_spent_budget_is_shown():
    class Poor(Script):
        def spent(self, at):
            return True

        def due(self, at):
            return False

    stage = Stage(Poor())
    stage.runner.tick()
    assert stage.health.state == "spent"


def test_what_was_used_of_the_day_is_shown_from_the_first_round_on():
    stage = Stage(Script())
    stage.meter.use("massive", AT.date(), 7, 0.25)
    stage.runner.tick()
    assert (stage.health.calls, stage.health.usd) == (7, 0.25)
    stage.clock.move(86_400)
    stage.runner.tick()
    assert (stage.health.calls, stage.health.usd) == (0, 0.0)


def test_a_jump_of_market_time_makes_it_due_and_shortens_no_pause():
    stage = Stage(Script())
    stage.runner.tick()
    stage.clock.now += timedelta(days=3)
    assert stage.runner.tick()
    stage.source.does = UnavailableSource("gone")
    stage.clock.now += timedelta(days=3)
    assert stage.runner.tick()
    stage.clock.now += timedelta(days=3)
    assert not stage.runner.tick()  # the market jumped; the vendor's second did not


def test_the_thread_starts_works_survives_and_stops():
    done = threading.Event()

    class Patient(Script):
        def due(self, at):
            return True

        def fetch(self, at):
            self.asked.append(at)
            if len(self.asked) == 1:
                raise ZeroDivisionError
            done.set()
            return HARVEST

    stage = Stage(Patient(), pause=0.001)
    logging.getLogger("services.argo.sources.runner").disabled = True
    try:
        stage.runner.start()
        while not done.wait(0.001):
            stage.clock.move(1.0)
        stage.runner.stop()
    finally:
        logging.getLogger("services.argo.sources.runner").disabled = False
    assert not stage.runner.thread.is_alive()
    assert stage.runner.thread.daemon
    assert stage.stored


def test_stopping_what_never_started_is_fine():
    Stage(Script()).runner.stop()
