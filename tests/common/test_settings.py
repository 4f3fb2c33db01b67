"""Settings: what is meant is taken, what cannot be meant is named."""

import json
import os
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from argo_alpine.domain import InvalidSettings
from argo_alpine.engine import Policy
from argo_alpine.records import digest
from services.common import settings as module
from services.common.fields import epoch, is_loopback, url
from services.common.sections import LIVE, PAPER, at_alpaca
from services.common.settings import (
    KNOWN,
    Settings,
    check_execution,
    load,
    policy,
    redacted,
    sandboxed,
    secrets,
)

EXAMPLE = Path(__file__).parents[2] / "config.example.json"
CANARY = "cAnArY-7f3a91"


@pytest.fixture
def write(tmp_path):
    def at(content, mode=0o600, name="config.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        path.chmod(mode)
        return path

    return at


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "PRODUCTION", tmp_path / "none")


def load_here(path=None, env=None):
    return load(path, env or {}, Path("none"))


def told(path=None, env=None):
    with pytest.raises(InvalidSettings) as caught:
        load_here(path, env)
    return str(caught.value)


def paths(data, above=()):
    for name, value in data.items():
        here = (*above, name)
        yield from [here] if here in KNOWN or not isinstance(value, dict) else paths(value, here)


def test_the_example_holds_every_key_with_its_default():
    assert set(paths(json.loads(EXAMPLE.read_text()))) == set(KNOWN)
    assert load_here(EXAMPLE) == Settings()


def test_without_a_file_and_variables_everything_is_as_by_default():
    assert load_here() == Settings()
    assert Settings().environment == "development"


def test_a_file_in_the_working_directory_is_read_and_variables_win(write):
    write({"trading": {"min_confidence": 80, "stop_pct": 4}})
    found = load_here(env={"ARGO_TRADING__MIN_CONFIDENCE": "85"})
    assert (found.trading.min_confidence, found.trading.stop_pct) == (85.0, 4.0)


def test_a_file_that_is_named_must_exist():
    assert "absent.json cannot be read" in told(Path("absent.json"))


def test_variables_reach_every_kind_of_value():
    found = load_here(
        env={
            "ARGO_MASSIVE__API_KEY": "123",
            "ARGO_MASSIVE__EPOCH": "2004-08-19",
            "ARGO_ALPACA__DEV__SECRET_KEY": CANARY,
            "ARGO_STRATEGY__SYMBOLS": "AAPL, MSFT",
            "ARGO_STRATEGY__GROUPS": '{"AAPL": "tech"}',
            "ARGO_TRADING__AUTO_EXECUTE": "True",
            "ARGO_ARGO__PORT": "8100",
        }
    )
    assert found.massive.api_key.get_secret_value() == "123"
    assert found.massive.epoch.isoformat() == "2004-08-19"
    assert found.alpaca.dev.secret_key.get_secret_value() == CANARY
    assert found.strategy.symbols == ("AAPL", "MSFT")
    assert found.strategy.groups == {"AAPL": "tech"}
    assert found.trading.auto_execute is True
    assert found.argo.port == 8100


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("ARGO_TRADING__MIN_CONFIDNCE", "write ARGO_TRADING__MIN_CONFIDENCE"),
        ("ARGO_TRADING_MIN_CONFIDENCE", "write ARGO_TRADING__MIN_CONFIDENCE"),
        ("ARGO_trading__stop_pct", "is unknown"),
        ("ARGO_QQQ__ZZZ", "remove it"),
    ],
)
def test_a_variable_that_means_nothing_is_an_error(name, remedy):
    text = told(env={name: CANARY})
    assert f"{name}: is unknown" in text
    assert remedy in text
    assert CANARY not in text


def test_a_variable_of_another_program_is_left_alone():
    assert load_here(env={"ARGO_HOME": "/x", "PATH": "/bin"}) == Settings()


def test_the_environment_is_said_or_found_and_never_assumed(write):
    ours = write({}, name="production.json")
    assert load(None, {}, ours).environment == "production"
    assert load(None, {"ARGO_ENV": "development"}, ours).environment == "development"
    assert load(None, {"ARGO_ENV": "production"}, Path("none")).environment == "production"
    assert 'ARGO_ENV = "prod": write' in told(env={"ARGO_ENV": "prod"})


def test_a_production_file_of_somebody_else_means_development(write, monkeypatch):
    theirs = write({}, name="production.json")
    monkeypatch.setattr(os, "geteuid", lambda: theirs.stat().st_uid + 1)
    assert load(None, {}, theirs).environment == "development"


def test_in_production_its_file_is_read_instead_of_the_one_here(write):
    write({"argo": {"port": 9001}})
    theirs = write({"argo": {"port": 9002}}, name="production.json")
    assert load(None, {}, theirs).argo.port == 9002
    assert load(None, {"ARGO_ENV": "development"}, theirs).argo.port == 9001


def test_the_environment_is_not_a_key_of_the_file(write):
    assert "set ARGO_ENV" in told(write({"environment": "production"}))


WRONG = [
    ("strategy", "weight_sonar", 0.1, "sum to 0.95, must be 1"),
    ("trading", "min_confidence", 0.75, "percent: write 75"),
    ("trading", "min_confidence", 50, "above 50"),
    ("trading", "min_confidence", 0.3, "above 50"),
    ("trading", "min_confidence", 7500, "write 50.01 to 99.99 percent"),
    ("trading", "min_confidence", 75.001, "steps of 0.01"),
    ("trading", "position_size_pct", 0.05, "write 5"),
    ("trading", "max_drawdown_pct", 0.05, "write 5"),
    ("trading", "max_daily_loss_pct", 0.05, "write 5"),
    ("trading", "stop_pct", 0.05, "write 5"),
    ("trading", "target_pct", 0.05, "write 5"),
    ("trading", "max_drawdown_pct", -10, "is negative"),
    ("trading", "max_daily_loss_pct", -5, "is negative"),
    ("trading", "position_size_pct", 20, "write 1 to 15 percent"),
    ("trading", "stop_pct", "3", "without quotes"),
    ("trading", "stop_pct", True, "is no number"),
    ("trading", "stop_pct", float("nan"), "finite"),
    ("trading", "stop_pct", float("inf"), "finite"),
    ("trading", "stop_pct", 10**400, "is no number"),
    ("trading", "auto_execute", 1, "write true or false"),
    ("trading", "auto_execute", "yes", "write true or false"),
    ("trading", "stop_loss_pct", 3, "is unknown: write stop_pct"),
    ("trading", "symbols", ["AAPL"], "did you mean strategy.symbols?"),
    ("massive", "epoch", "01/31/2000", "write it like 2000-01-31"),
    ("massive", "epoch", 946684800, "is no date"),
    ("massive", "epoch", "1950-01-01", "1990"),
    ("massive", "base_url", "http://api.massive.com", "in the clear"),
    ("massive", "base_url", "https://api.massive.com:99999", "a port of 1 to 65535"),
    ("massive", "base_url", "https://u@api.massive.com", "is no base URL"),
    ("sonar", "model", "sonar", "perplexity/sonar"),
    ("sonar", "daily_budget_usd", -1, "is negative"),
    ("strategy", "symbols", [], "at least one symbol"),
    ("strategy", "symbols", ["AAPL", "AAPL"], "names AAPL more than once"),
    ("strategy", "symbols", "AAPL", "is no list"),
    ("strategy", "groups", {"TSLA": "cars"}, "names TSLA, not in strategy.symbols"),
    ("strategy", "quorum", 0.5, "write 50"),
    ("argo", "port", 0, "write 1 to 65535"),
    ("argo", "port", 65536, "write 1 to 65535"),
    ("argo", "port", 8000.5, "is no whole number"),
    ("argo", "book", "../paper", "letters, digits"),
    ("argo", "book", "a/b", "letters, digits"),
    ("argo", "book", "paper\n", "letters, digits"),
    ("sandbox", "control_port", 8600, "is also sandbox.port"),
    ("sandbox", "host", "0.0.0.0", "is not this machine"),
]


@pytest.mark.parametrize(("section", "name", "value", "remedy"), WRONG)
def test_what_cannot_be_meant_is_named_with_its_value_and_a_remedy(
    write, section, name, value, remedy
):
    text = told(write({section: {name: value}}))
    assert f"{section}.{name} = " in text
    assert remedy in text


@pytest.mark.parametrize("symbol", ["aapl", "", "AAPL\n", "TOOLONGXX", "BRK/B", "..", 5])
def test_an_ill_formed_symbol_is_named_by_its_place(write, symbol):
    text = told(write({"strategy": {"symbols": ["MSFT", symbol]}}))
    assert "strategy.symbols.1 = " in text


def test_weights_that_sum_to_a_hundred_are_told_apart(write):
    weights = {"massive": 40, "alpha_vantage": 25, "x_sentiment": 20, "sonar": 15}
    text = told(write({"strategy": {f"weight_{k}": v for k, v in weights.items()}}))
    assert "sum to 100, must be 1: write 0.4, not 40" in text


@pytest.mark.parametrize(
    ("account", "address", "remedy"),
    [
        ("dev", "https://api.alpaca.markets", "is the live account under alpaca.dev"),
        ("dev", "https://API.alpaca.markets.", "is the"),
        ("production", "https://paper-api.alpaca.markets", "is the paper account"),
        ("production", "https://example.com", "leads elsewhere"),
        ("dev", "https://127.0.0.1.example.com", "leads elsewhere"),
    ],
)
def test_an_account_leads_only_to_its_own_host(write, account, address, remedy):
    text = told(write({"alpaca": {account: {"base_url": address}}}))
    assert f"alpaca.{account}.base_url = " in text
    assert remedy in text or "is no base URL" in text


def test_every_problem_is_told_at_once(write):
    path = write({section: {name: value} for section, name, value, _ in WRONG[::-1]})
    sections = {section for section, *_ in WRONG}
    text = told(path, {"ARGO_TRADING__TARGET_PCT": "0.05", "ARGO_X_API__EVRY": "1"})
    assert all(f"\n  {section}." in text for section in sections)
    assert "trading.target_pct (ARGO_TRADING__TARGET_PCT) = 0.05" in text
    assert len(text.splitlines()) >= len(sections) + 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{\n  "trading": {,}\n}', "line 2, column 15"),
        ("[]", "is no object"),
        ("", "line 1, column 1"),
        ("[" * 100_000, "is not JSON"),
        ('{"a":' * 700 + "1" + "}" * 700, "config.json "),
        ('{"trading": {"stop_pct": ' + "9" * 5000 + "}}", "is not JSON"),
        ('{"trading": {"stop_pct": 3, "stop_pct": 4}}', "trading.stop_pct: is given more than"),
        ('{"trading": {"stop_pct": NaN}}', "finite"),
    ],
)
def test_a_file_that_is_not_what_it_seems_is_refused(write, content, reason):
    assert reason in told(write(content))


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "config.json").write_bytes(b'{"\xff": 1}')
    assert "is not JSON as UTF-8" in told()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_key_in_a_file_that_others_may_use_is_an_error(write, mode):
    text = told(write({"massive": {"api_key": CANARY}}, mode))
    assert "chmod 600" in text
    assert CANARY not in text


def test_a_file_without_a_key_may_be_read_by_all(write):
    assert load_here(write({"massive": {"api_key": ""}}, 0o644)) == Settings()


@pytest.mark.parametrize(
    "content",
    [
        {"massive": {"api_key": f"{CANARY} "}},
        {"massive": {"api_key": [CANARY]}},
        {"massive": {"api_kye": CANARY}},
        {"massive": CANARY},
        {"massive": {"base_url": f"https://api.massive.com?apiKey={CANARY}"}},
        {"massive": {"base_url": f"https://u:{CANARY}@api.massive.com"}},
        {"api_key": CANARY},
        {"alpaca": {"dev": [CANARY]}},
    ],
)
def test_no_key_is_ever_in_an_error(write, content):
    assert CANARY not in told(write(content))
    assert CANARY in json.dumps(content)


def test_the_mask_is_what_keeps_a_key_out(write, monkeypatch):
    monkeypatch.setattr(module, "masked", module.text)
    assert CANARY in told(write({"massive": {"api_key": f"{CANARY} "}}))


def test_a_key_is_neither_shown_nor_dumped_but_told_to_the_redactor(write):
    found = load_here(write({"massive": {"api_key": CANARY}}))
    assert CANARY not in f"{found!r} {found} {json.dumps(redacted(found))}"
    assert redacted(found)["massive"]["api_key"] == "***"
    assert redacted(found)["sonar"]["api_key"] == ""
    assert secrets(found) == (CANARY,)


def test_a_source_without_a_key_is_missing_and_one_switched_off_is_not(write):
    assert Settings().missing() == ("massive", "alpha_vantage", "x_sentiment", "sonar")
    found = load_here(write({"massive": {"api_key": CANARY}, "sonar": {"enabled": False}}))
    assert found.missing() == ("alpha_vantage", "x_sentiment")


def test_the_defaults_are_the_policy_of_the_notebooks():
    made = policy(Settings())
    allowed = Settings().strategy.symbols
    assert made.risk.allowed == allowed
    assert digest(replace(made, risk=replace(made.risk, allowed=()))) == digest(Policy())
    assert list(made.consensus.weights) == list(Policy().consensus.weights)


def test_every_knob_reaches_the_policy_as_a_real_float(write):
    path = write(
        {
            "strategy": {
                "weight_massive": 0.2,
                "weight_alpha_vantage": 0.45,
                "quorum": 60,
                "groups": {"AAPL": "tech"},
            },
            "trading": {
                "min_confidence": 80,
                "position_size_pct": 8,
                "stop_pct": 2,
                "target_pct": 6,
                "max_drawdown_pct": 12,
                "max_daily_loss_pct": 4,
            },
        }
    )
    made = policy(load_here(path))
    assert made.consensus.weights == {
        "massive": 2000,
        "alpha_vantage": 4500,
        "x_sentiment": 2000,
        "sonar": 1500,
    }
    values = (
        made.consensus.threshold,
        made.consensus.quorum,
        made.sizing.base_pct,
        made.sizing.from_pct,
        made.sizing.stop_pct,
        made.sizing.target_pct,
        made.risk.drawdown_pct,
        made.risk.daily_loss_pct,
    )
    assert values == (80, 60, 8, 80, 2, 6, 12, 4)
    assert {type(value) for value in values} == {float}
    assert made.risk.groups == {"AAPL": "tech"}


def test_the_sandbox_is_all_there_is(write):
    mine = write({"massive": {"api_key": CANARY, "epoch": "2020-01-01"}})
    found = sandboxed(load_here(mine), host="127.0.0.1", port=8700, control_port=8701)
    base = "http://127.0.0.1:8700"
    assert found.massive.base_url == f"{base}/massive"
    assert found.alpha_vantage.base_url == f"{base}/alpha_vantage"
    assert found.x_api.base_url == f"{base}/x"
    assert found.sonar.base_url == f"{base}/perplexity"
    for account in (found.alpaca.dev, found.alpaca.production):
        assert account.base_url == f"{base}/alpaca"
        assert account.stream_url == "ws://127.0.0.1:8700/alpaca/stream"
    assert found.alpha_vantage.calls_per_minute == 1200
    assert (found.argo.book, found.trading.auto_execute) == ("sandbox", True)
    assert (found.sandbox.port, found.sandbox.control_port) == (8700, 8701)
    assert found.massive.epoch.year == 2000
    assert {secret for _, secret in module.keys(found)} - {""} == {"sandbox"}
    assert (found.missing(), secrets(found)) == ((), ())
    check_execution(found)


def test_the_sandbox_is_never_elsewhere():
    with pytest.raises(InvalidSettings, match=r"sandbox\.host"):
        sandboxed(Settings(), host="example.com", port=8600, control_port=8601)


def test_orders_never_leave_this_machine(write):
    path = write({"trading": {"auto_execute": True}})
    for env in ({}, {"ARGO_ENV": "production"}):
        with pytest.raises(InvalidSettings, match="not enabled in this version"):
            check_execution(load_here(path, env))
    half = {"alpaca": {"dev": {"base_url": "http://127.0.0.1:8600"}}}
    with pytest.raises(InvalidSettings, match="wss://paper-api"):
        check_execution(load_here(write(half | {"trading": {"auto_execute": True}})))


def test_without_execution_any_broker_will_do():
    check_execution(Settings())


def test_a_slash_at_the_end_of_a_base_url_is_dropped(write):
    found = load_here(write({"sonar": {"base_url": "https://api.perplexity.ai/"}}))
    assert found.sonar.base_url == "https://api.perplexity.ai"


def test_settings_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Settings().trading.stop_pct = 9.0


NASTY = [
    *(None, True, False, 0, 1, -1, 0.05, 0.5, 0.75, 3, 51, 75, 99.999, 100, 101, 1e9, 10**30),
    *(float("nan"), float("inf"), -0.0, 1e-300, "", " ", "a", "75", "../x", "AAPL", "x\n\x1b[2J"),
    *("https://example.com", "http://127.0.0.1:1", "https://[::zz]", "https://h:0", "\ud800"),
    *([], ["AAPL"], ["A", "A"], [None], [[]], {}, {"AAPL": "tech"}, {"a": {"b": 1}}, "2001-01-01"),
]


def mutated(rng):
    data = json.loads(EXAMPLE.read_text())
    path = list(KNOWN)[rng.integers(len(KNOWN))]
    depth = int(rng.integers(1, len(path) + 1)) if rng.random() < 0.2 else len(path)
    inner = data
    for name in path[: depth - 1]:
        inner = inner[name]
    value = NASTY[rng.integers(len(NASTY))]
    before = inner[path[depth - 1]]
    if type(before) in (int, float) and rng.random() < 0.6:
        value = type(before)(before * 2.0 ** rng.normal())
    inner[path[depth - 1]] = value
    return path[:depth], value, data


def test_five_hundred_mutations_are_taken_in_range_or_named(write):
    rng = np.random.default_rng(20260301)
    taken = refused = 0
    for _ in range(500):
        path, value, data = mutated(rng)
        try:
            found = load_here(write(data))
        except InvalidSettings as error:
            refused += 1
            assert ".".join(path) in str(error), (path, value, str(error))
            assert "\x1b" not in str(error)
            continue
        taken += 1
        policy(found)
        sandboxed(found, host="127.0.0.1", port=8600, control_port=8601)
        trading = found.trading
        assert 50 < trading.min_confidence < 100
        assert 1 <= trading.position_size_pct <= 15
        for name in ("stop_pct", "target_pct", "max_drawdown_pct", "max_daily_loss_pct"):
            assert 1 <= getattr(trading, name) <= 100
        for port in (found.argo.port, found.sandbox.port, found.sandbox.control_port):
            assert 1 <= port <= 65535
    assert min(taken, refused) > 50


@pytest.mark.parametrize(
    ("address", "is_here"),
    [
        ("http://localhost:8000", True),
        ("ws://127.0.0.1/stream", True),
        ("http://[::1]:80", True),
        ("localhost", True),
        ("http://localhost.example.com", False),
        ("http://127.0.0.1.example.com", False),
        ("http://10.0.0.1", False),
    ],
)
def test_this_machine_is_not_a_name_that_begins_like_it(address, is_here):
    assert is_loopback(address) is is_here


def test_keys_leave_this_machine_encrypted_only():
    assert url("http://localhost:8000/") == "http://localhost:8000"
    for address in ("http://localhost.example.com", "ws://example.com"):
        with pytest.raises(ValueError, match="in the clear"):
            url(address)


def test_no_bar_is_asked_for_that_no_calendar_knows():
    assert [epoch(date(year, 1, 1)).year for year in (1990, 2100)] == [1990, 2100]
    for day in (date(1989, 12, 31), date(2100, 1, 2)):
        with pytest.raises(ValueError, match="out of range"):
            epoch(day)


def test_a_dot_at_the_end_of_a_host_hides_no_account():
    for host, other in ((PAPER, LIVE), (LIVE, PAPER)):
        for address in (f"https://{host}", f"https://{host}.", f"wss://{host.upper()}./stream"):
            assert at_alpaca(address, host, other, "the other") == address
            with pytest.raises(ValueError, match=r"the other: swapped\?"):
                at_alpaca(address, other, host, "the other")
