"""The sections and keys of the configuration, with what they are when nobody says otherwise."""

from datetime import date
from typing import Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from argo_alpine.votes import SOURCES
from services.common.fields import (
    Bps,
    Count,
    Database,
    Day,
    Days,
    Flag,
    Host,
    Hours,
    Key,
    Model,
    Money,
    Name,
    Origins,
    Percent,
    Port,
    Seconds,
    SigningKeys,
    Size,
    Symbols,
    Threshold,
    Url,
    Weight,
    is_loopback,
)

PAPER, LIVE = "paper-api.alpaca.markets", "api.alpaca.markets"
WEIGHTS = ("weight_massive", "weight_alpha_vantage", "weight_x_sentiment", "weight_sonar")


class Section(BaseModel):
    """Keys that belong together; none but the known ones."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True
    )


class Massive(Section):
    """Prices."""

    enabled: Flag = True
    api_key: Key = SecretStr("")
    base_url: Url = "https://api.massive.com"
    epoch: Day = date(2000, 1, 1)  # the first bar asked for; indicators are folded from it


class AlphaVantage(Section):
    """Indicators."""

    enabled: Flag = True
    api_key: Key = SecretStr("")
    base_url: Url = "https://www.alphavantage.co"
    calls_per_minute: Count = 75
    calls_per_day: Count = 25_000


class XApi(Section):
    """Sentiment."""

    enabled: Flag = True
    bearer_token: Key = SecretStr("")
    base_url: Url = "https://api.x.com"
    every_seconds: Seconds = 120.0
    daily_budget_usd: Money = 5.0


class Sonar(Section):
    """Research."""

    enabled: Flag = True
    api_key: Key = SecretStr("")
    base_url: Url = "https://api.perplexity.ai"
    model: Model = "perplexity/sonar"
    every_seconds: Seconds = 1800.0
    daily_budget_usd: Money = 5.0


def at_alpaca(value: str, host: str, other: str, swapped: str) -> str:
    """The URL, if it leads to a host or to this machine."""
    found = (urlsplit(value).hostname or "").rstrip(".")
    if found == other:
        raise ValueError(f"{swapped}: swapped? write {host}")
    if found != host and not is_loopback(value):
        raise ValueError(f"leads elsewhere: write {host}")
    return value


class Paper(Section):
    """An Alpaca account with play money."""

    api_key: Key = SecretStr("")
    secret_key: Key = SecretStr("")
    base_url: Url = f"https://{PAPER}"
    stream_url: Url = f"wss://{PAPER}/stream"

    @field_validator("base_url", "stream_url")
    @classmethod
    def is_paper(cls, value: str) -> str:
        """Never the live host."""
        return at_alpaca(value, PAPER, LIVE, "is the live account under alpaca.dev")


class Live(Section):
    """An Alpaca account with money."""

    api_key: Key = SecretStr("")
    secret_key: Key = SecretStr("")
    base_url: Url = f"https://{LIVE}"
    stream_url: Url = f"wss://{LIVE}/stream"

    @field_validator("base_url", "stream_url")
    @classmethod
    def is_live(cls, value: str) -> str:
        """Never the paper host."""
        return at_alpaca(value, LIVE, PAPER, "is the paper account under alpaca.production")


class Alpaca(Section):
    """The broker, once for each environment."""

    dev: Paper = Paper()
    production: Live = Live()


class Strategy(Section):
    """What is watched, and whose opinion counts how much."""

    symbols: Symbols = ("AAPL", "IBM", "MSFT", "GOOG")
    weight_massive: Weight = 0.4
    weight_alpha_vantage: Weight = 0.25
    weight_x_sentiment: Weight = 0.2
    weight_sonar: Weight = 0.15
    quorum: Percent = 50.0
    groups: dict[str, Name] = Field(default_factory=dict)  # symbol -> correlation group

    @field_validator("symbols")
    @classmethod
    def are_distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """At least one, none twice."""
        if twice := sorted({s for s in value if value.count(s) > 1}):
            raise ValueError(f"names {', '.join(twice)} more than once: write each symbol once")
        if not value:
            raise ValueError("is empty: write at least one symbol, such as AAPL")
        return value

    # the last weight is where all four are known
    @field_validator("weight_sonar")
    @classmethod
    def weights_sum_to_one(cls, value: float, info: ValidationInfo) -> float:
        """In whole basis points."""
        known = {**info.data, "weight_sonar": value}
        if any(name not in known for name in WEIGHTS):
            return value
        total = sum(round(known[name] * 10_000) for name in WEIGHTS)
        each = ", ".join(f"strategy.{name} {known[name]:g}" for name in WEIGHTS)
        if total == 1_000_000:
            raise ValueError(
                f"and the other weights sum to 100, must be 1: write 0.4, not 40 ({each})"
            )
        if total != 10_000:
            raise ValueError(
                f"and the other weights sum to {total / 10_000:g}, must be 1 ({each}): "
                "change one of them"
            )
        return value

    @field_validator("groups")
    @classmethod
    def groups_are_known(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        """Of symbols that are watched."""
        symbols = info.data.get("symbols")
        if symbols is not None and (strange := sorted(value.keys() - set(symbols))):
            raise ValueError(
                f"names {', '.join(strange)}, not in strategy.symbols: add it there, or remove it"
            )
        return value


class Trading(Section):
    """What is risked."""

    auto_execute: Flag = False
    min_confidence: Threshold = 75.0
    position_size_pct: Size = 10.0
    stop_pct: Percent = 3.0
    target_pct: Percent = 5.0
    max_drawdown_pct: Percent = 10.0
    max_daily_loss_pct: Percent = 5.0
    entry_ttl_seconds: Seconds = 60.0  # 23400 is a session, as long as a backtest's limit waits
    limit_entries: Flag = False  # enter at a limit, else at the market
    limit_bps: Bps = 0.0  # how much better than the decision close that limit is

    @field_validator("limit_bps")
    @classmethod
    def is_above_the_stop(cls, value: float, info: ValidationInfo) -> float:
        """An entry beyond its own stop would be over before it began."""
        stop = info.data.get("stop_pct")
        if info.data.get("limit_entries") and stop is not None and value >= 100 * stop:
            raise ValueError(
                f"lies beyond the stop, trading.stop_pct {stop:g}: write less than {100 * stop:g}"
            )
        return value


class Argo(Section):
    """The engine."""

    host: Host = "127.0.0.1"
    port: Port = 8000
    book: Name = "paper"
    cycle_seconds: Seconds = 5.0
    patience_seconds: Seconds = 6.0


class Sandbox(Section):
    """The stand-in for the outside world."""

    host: Host = "127.0.0.1"
    port: Port = 8600
    control_port: Port = 8601
    dwell_seconds: Seconds = 12.0

    @field_validator("host")
    @classmethod
    def stays_here(cls, value: str) -> str:
        """It knows no password."""
        if not is_loopback(value):
            raise ValueError("is not this machine: write 127.0.0.1")
        return value

    @field_validator("control_port")
    @classmethod
    def is_another(cls, value: int, info: ValidationInfo) -> int:
        """Two servers, two ports."""
        if value == info.data.get("port"):
            raise ValueError("is also sandbox.port: write another, such as 8601")
        return value


class Alpine(Section):
    """Distribution: who subscribes, and what they are told."""

    host: Host = "127.0.0.1"
    port: Port = 9001
    database_url: Database = SecretStr("")  # empty: SQLite at data/recorded/alpine.sqlite
    intake_key: SigningKeys = SecretStr("")  # shared with Argo; whsec_...
    cors: Origins = ()
    session_hours: Hours = 24.0  # without a question
    session_days: Days = 30.0  # at most
    signup: Flag = True
    feed_url: Url = "http://127.0.0.1:9001"  # where Argo sends to


class Dashboard(Section):
    """The pages, and whom they ask."""

    host: Host = "127.0.0.1"
    port: Port = 8501
    argo_url: Url = "http://127.0.0.1:8000"
    alpine_url: Url = "http://127.0.0.1:9001"


class Settings(Section):
    """All that may be set."""

    environment: Literal["development", "production"] = "development"
    massive: Massive = Massive()
    alpha_vantage: AlphaVantage = AlphaVantage()
    x_api: XApi = XApi()
    sonar: Sonar = Sonar()
    alpaca: Alpaca = Alpaca()
    strategy: Strategy = Strategy()
    trading: Trading = Trading()
    argo: Argo = Argo()
    sandbox: Sandbox = Sandbox()
    alpine: Alpine = Alpine()
    dashboard: Dashboard = Dashboard()

    @property
    def broker(self) -> Paper | Live:
        """The account of this environment."""
        return self.alpaca.production if self.environment == "production" else self.alpaca.dev

    def missing(self) -> tuple[str, ...]:
        """Sources that are enabled but have no key: they abstain."""
        seen = (
            (self.massive.enabled, self.massive.api_key),
            (self.alpha_vantage.enabled, self.alpha_vantage.api_key),
            (self.x_api.enabled, self.x_api.bearer_token),
            (self.sonar.enabled, self.sonar.api_key),
        )
        named = zip(SOURCES, seen, strict=True)
        return tuple(n for n, (on, secret) in named if on and not secret.get_secret_value())
