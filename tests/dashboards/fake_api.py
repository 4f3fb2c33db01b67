"""Alpine and Argo as the dashboard sees them: nothing yet, a believable day, or an attacker's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import sin
from typing import Annotated, Any

from fastapi import Body, FastAPI, Header, HTTPException, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse

WALL = datetime(2026, 1, 5, 15, 4, tzinfo=UTC)
MARKET = datetime(2005, 3, 10, 15, 2, tzinfo=UTC)
TOKEN, EMAIL, PASSWORD = "a-token", "reader@example.com", "correct horse battery"
SYMBOLS = ("AAPL", "IBM", "MSFT", "GOOG")
HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)> [click](javascript:alert(3)) "
    "**bold** :red[blood] :material/lock: :smile: $x^2$ https://evil.example www.evil.example"
)
PAGE = (
    "<!doctype html><html><body style='font:16px system-ui;margin:2rem'><h1>Backtest</h1>"
    "<p>24 trades returned 3.1 %, no more than the 9.4 % of buying and holding the same symbols: "
    "too few trades to judge.</p></body></html>"
)


@dataclass
class Fake:
    """What both services say, and what they were asked."""

    kind: str = "full"  # full, empty or hostile
    sandbox: bool = True
    plan: str = "pro"
    trades: int = 64
    signed_in: bool = True  # whether the token still counts
    jobs: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return self.kind == "empty"

    def text(self, usual: str) -> str:
        """Whatever a stranger may have written."""
        return HOSTILE if self.kind == "hostile" else usual


def iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def vote(fake: Fake, source: str, direction: str, confidence: float, why: str) -> dict[str, Any]:
    at = iso(MARKET - timedelta(minutes=5))
    said = {"source": source, "direction": direction, "confidence": confidence}
    return {**said, "why": fake.text(why), "at": at}


def votes(fake: Fake, direction: str) -> list[dict[str, Any]]:
    """Three speak, one of them against; one abstains."""
    other = "SHORT" if direction == "LONG" else "LONG"
    return [
        vote(fake, "massive", direction, 91.2, "trend 0.88, breakout 0.91, volume 0.44"),
        vote(fake, "alpha_vantage", direction, 83.5, "rsi 0.41, macd 0.77, averages 0.83"),
        vote(fake, "x_sentiment", other, 57.12, "18 authors, mean score -0.14"),
        vote(fake, "sonar", "NEUTRAL", 50.0, "no relevant news of the last two days"),
    ]


def signal(fake: Fake, n: int, direction: str, outcome: str | None) -> dict[str, Any]:
    """One of Alpine's, `n` steps back."""
    symbol = fake.text(SYMBOLS[n % 4])
    entry, sign = 40.0 + 3.11 * n, 1 if direction == "LONG" else -1
    at, wall = MARKET - timedelta(days=n), WALL - timedelta(minutes=4 + 61 * n)
    moved = {"target": 1.05, "stop": 0.97, "close": 1.01}.get(outcome or "")
    fills = [] if outcome is None else [fill(at, "entry", 24.0 * sign, entry)]
    fills += [fill(at, outcome or "", -24.0 * sign, entry * moved)] if moved else []
    return {
        "id": f"{n:064x}", "symbol": symbol, "direction": direction, "confidence": 82.4567 - n / 3,
        "at": iso(at), "entry": entry, "stop": entry * (1 - 0.03 * sign),
        "target": entry * (1 + 0.05 * sign), "size_pct": 11.4,
        "expires": iso(at + timedelta(days=1)), "turnout": 0.85, "votes": votes(fake, direction),
        "received_at": iso(wall), "feed": 100 - n, "sandbox": fake.sandbox, "fills": fills,
        "outcome": outcome, "pnl": 24.0 * entry * (moved - 1) if moved else None,
    }  # fmt: skip


def fill(at: datetime, why: str, quantity: float, price: float) -> dict[str, Any]:
    at += timedelta(hours=18)
    return {"at": iso(at), "why": why, "quantity": quantity, "price": price, "fee": 0.0}


def signals(fake: Fake) -> list[dict[str, Any]]:
    if fake.is_empty:
        return []
    ends = ("open", "target", "stop", None, "target", "close", "stop", "target", "target")
    return [signal(fake, n, "SHORT" if n % 4 == 2 else "LONG", end) for n, end in enumerate(ends)]


def equity(fake: Fake) -> list[dict[str, Any]]:
    if fake.is_empty:
        return []
    return [
        {"at": iso(MARKET - timedelta(days=260 - n)), "equity": 1e5 + 36 * n + 2400 * sin(n / 17)}
        for n in range(260)
    ]


def trades(fake: Fake) -> dict[str, Any]:
    n = 0 if fake.is_empty else fake.trades
    wins = round(n * 0.578)
    enough = {"rate": wins / n, "low": 0.456, "high": 0.691, "why_not": ""} if n >= 30 else None
    few = {"rate": None, "low": None, "high": None}
    why = f"{n} trades are too few for a rate: it takes 30"
    return {"n": n, "wins": wins, "pnl": 145.3 * wins, **(enough or {**few, "why_not": why})}


def alpine(fake: Fake) -> FastAPI:
    """Alpine's API."""
    app = FastAPI()

    def admit(authorization: str | None) -> None:
        if not fake.signed_in or authorization != f"Bearer {TOKEN}":
            raise HTTPException(401, "who are you?")

    def account() -> dict[str, Any]:
        free = fake.plan == "free"
        return {
            "email": EMAIL, "plan": fake.plan, "zone": "Europe/Berlin", "created_at": iso(WALL),
            "symbols": None, "delay_seconds": 86_400 if free else 0, "per_day": None,
        }  # fmt: skip

    Who = Annotated[str | None, Header(alias="Authorization")]

    @app.get("/health")
    def health() -> Any:
        sources = [] if fake.is_empty else [{"epoch": "e", "high": 9, "sandbox": fake.sandbox}]
        return {"status": "ok", "sources": sources, "head": 9, "problems": []}

    @app.post("/api/auth/login")
    def login(said: Annotated[dict[str, str], Body()]) -> Any:
        if said != {"email": EMAIL, "password": PASSWORD}:
            raise HTTPException(401, "the address or the password is wrong")
        fake.signed_in = True
        expires = iso(WALL + timedelta(days=1))
        return {"token": TOKEN, "expires_at": expires, **account()}

    @app.post("/api/auth/signup", status_code=202)
    def signup(said: Annotated[dict[str, str], Body()]) -> Any:
        fake.asked.append(("signup", said["email"]))
        return {"detail": "If the address is new, the account is ready: sign in."}

    @app.post("/api/auth/logout")
    def logout(authorization: Who = None) -> Any:
        admit(authorization)
        fake.signed_in = False
        return {"detail": "bye"}

    @app.post("/api/auth/password")
    def password(said: Annotated[dict[str, str], Body()], authorization: Who = None) -> Any:
        admit(authorization)
        if said["old"] != PASSWORD:
            raise HTTPException(401, "the old password is wrong")
        fake.signed_in = False
        return {"detail": "changed"}

    @app.get("/api/account")
    def get_account(authorization: Who = None) -> Any:
        admit(authorization)
        return account()

    @app.patch("/api/account")
    def patch_account(said: Annotated[dict[str, str], Body()], authorization: Who = None) -> Any:
        admit(authorization)
        fake.asked.append(("zone", said["zone"]))
        return account()

    @app.get("/api/signals/subscribed")
    def subscribed(authorization: Who = None) -> Any:
        admit(authorization)
        return {"sandbox": fake.sandbox, "items": signals(fake)}

    @app.get("/api/signals/export")
    def export(authorization: Who = None) -> Response:
        admit(authorization)
        return PlainTextResponse("id,symbol\n1,AAPL\n", media_type="text/csv")

    @app.get("/api/performance")
    def performance(authorization: Who = None) -> Any:
        admit(authorization)
        points = equity(fake)
        since = points[0]["at"] if points else None
        shape = {"sandbox": fake.sandbox, "kind": "paper", "since": since}
        return {**shape, "equity": points, "trades": trades(fake), "drawdown_pct": 4.31}

    @app.post("/api/backtests", status_code=202)
    def start(said: Annotated[dict[str, Any], Body()], authorization: Who = None) -> Any:
        admit(authorization)
        fake.asked.append(("backtest", said))
        fake.jobs.insert(0, job(str(len(fake.jobs)), "running", 0.4, said))
        return {"id": fake.jobs[0]["id"]}

    @app.get("/api/backtests")
    def backtests(authorization: Who = None) -> Any:
        admit(authorization)
        knobs = {"symbols": ["AAPL", fake.text("IBM")], "first": "2005-03-01", "last": "2013-03-01"}
        knobs["threshold"] = 75.0  # type: ignore[assignment]
        old = [
            job("r", "running", 0.62, knobs, "Running the policy"),
            job("d", "done", 1.0, knobs, "24 trades returned 3.1 %"),
            job("f", "failed", 0.2, knobs, fake.text("no bars of IBM before 2005-03-01")),
        ]
        return fake.jobs if fake.is_empty else [*fake.jobs, *old]

    @app.get("/api/backtests/{name}/report")
    def job_report(name: str, authorization: Who = None) -> Response:
        admit(authorization)
        return HTMLResponse(PAGE)

    @app.get("/api/reports")
    def reports(authorization: Who = None) -> Any:
        admit(authorization)
        if fake.is_empty:
            return []
        verdict = "24 trades returned 3.1 %, no more than holding: too few trades to judge."
        names = (fake.text("backtest"), "backtest-2009")
        return [{"name": n, "made_at": iso(WALL), "verdict": fake.text(verdict)} for n in names]

    @app.get("/api/reports/{name:path}")
    def report(name: str, authorization: Who = None) -> Response:
        admit(authorization)
        return HTMLResponse(PAGE)

    return app


def job(
    name: str, state: str, progress: float, knobs: Mapping[str, Any], note: str = ""
) -> dict[str, Any]:
    url = f"/api/backtests/{name}/report" if state == "done" else None
    said = {"id": name, "state": state, "progress": progress, "note": note}
    return {**said, "parameters": dict(knobs), "summary": None, "report_url": url}


def source(fake: Fake, n: int, name: str, weight: float, state: str) -> dict[str, Any]:
    """One of Argo's sources."""
    error = "503 from the vendor, next attempt in 40 s" if state == "failing" else ""
    health = {
        "name": name, "enabled": True, "state": state, "failures": int(bool(error)),
        "error": fake.text(error) if error else "", "last_success": iso(WALL), "retry_at": None,
        "calls": 4 * n + 31, "usd": 0.12 * n, "extra": {},
    }  # fmt: skip
    sides = ("LONG", "LONG", "SHORT", "NEUTRAL")
    cast = [
        {
            **vote(fake, name, sides[(n + k) % 4], 55.25 + 9.1 * ((n + k) % 5), "trend 0.61"),
            "symbol": fake.text(symbol), "weight": weight, "abstained": (n + k) % 4 == 3,
            "expires": iso(MARKET + timedelta(days=2)),
        }
        for k, symbol in enumerate(SYMBOLS)
    ]  # fmt: skip
    shape = {"name": name, "enabled": True, "weight": weight, "health": health}
    return {**shape, "at": None if fake.is_empty else iso(MARKET),
            "votes": [] if fake.is_empty else cast}  # fmt: skip


def sources(fake: Fake) -> list[dict[str, Any]]:
    named = (("massive", 0.4), ("alpha_vantage", 0.25), ("x_sentiment", 0.2), ("sonar", 0.15))
    states = ("waiting",) * 4 if fake.is_empty else ("ok", "ok", "failing", "spent")
    return [source(fake, n, *one, states[n]) for n, one in enumerate(named)]


def position(symbol: str, quantity: float, price: float, last: float) -> dict[str, Any]:
    sign = 1 if quantity > 0 else -1
    stop, target = price * (1 - 0.03 * sign), price * (1 + 0.05 * sign)
    guards = [
        {"id": leg, "symbol": symbol, "leg": leg, "price": at, "state": "open"}
        for leg, at in (("stop", stop), ("target", target))
    ]
    return {
        "symbol": symbol, "quantity": quantity, "price": price, "stop": stop, "target": target,
        "opened": iso(MARKET), "last": last, "last_at": iso(MARKET), "value": quantity * last,
        "pnl": quantity * (last - price), "why_not": "", "guards": guards,
    }  # fmt: skip


def decision(fake: Fake, n: int) -> dict[str, Any]:
    codes = {
        "threshold": "The sources lean one way, but not surely enough to act.",
        "signal": "The sources agree: a signal was made.",
        "quorum": "Too few sources had an opinion: together they hold less weight than the quorum.",
        "held": "We already hold a position on that side, or are entering one.",
    }
    why = [*codes][n % 4]
    thought = {"direction": "LONG", "confidence": 66.6 + n, "turnout": 0.85, "votes": []}
    return {
        "seq": 900 - n // 4, "at": iso(MARKET - timedelta(days=n // 4)), "why": why,
        "symbol": fake.text(SYMBOLS[n % 4]), "words": fake.text(codes[why]), "signal": None,
        "consensus": thought if n % 3 else None, "reasons": [],
    }  # fmt: skip


def argo(fake: Fake, version: str = "") -> FastAPI:
    """Argo's API."""
    app = FastAPI()

    @app.get("/health")
    def health() -> Response:
        empty = fake.is_empty
        problems = ["the engine has not finished a cycle yet"] if empty else [
            "x_sentiment fails: 503 from the vendor", fake.text("GOOG is frozen: unknown order")
        ]  # fmt: skip
        view = {
            "status": "down" if empty else "degraded", "problems": problems,
            "state": "starting" if empty else "running", "sandbox": fake.sandbox,
            "mode": None if empty else "ACTIVE", "latched": None if empty else False,
            "reconciled": not empty, "auto_execute": True, "book": "paper", "build": "b",
            "frozen": {} if empty else {fake.text("GOOG"): fake.text("an unknown order is open")},
            "at": None if empty else iso(MARKET), "is_open": None if empty else True,
            "cycled_at": None if empty else iso(WALL), "age_seconds": None if empty else 2.1,
            "cycles": 0 if empty else 812, "cycle_ms": None if empty else 14.2,
            "sources": [s["health"] for s in sources(fake)], "sources_ok": 0 if empty else 2,
            "sources_enabled": 4, "turnout": {}, "head_seq": None if empty else 901,
            "head_id": None if empty else "9f" * 32, "version": version,
        }  # fmt: skip
        return JSONResponse(view, 503 if empty else 200)

    @app.get("/api/account")
    def account() -> Any:
        empty = fake.is_empty
        money = (None,) * 6 if empty else (101_240.5, 61_000.0, 120_000.0, 102_000.0, 104_100.0, -759.5)  # fmt: skip  # noqa: E501
        names = ("equity", "cash", "buying_power", "opening", "peak", "day")
        return {
            **dict(zip(names, money, strict=True)), "at": None, "sandbox": fake.sandbox,
            "known": not empty, "why_not": "no cycle yet" if empty else "", "active": not empty,
            "blocks": [], "mode": None if empty else "ACTIVE", "latched": False, "halted": None,
            "drawdown": None if empty else -0.0275, "auto_execute": True,
        }  # fmt: skip

    @app.get("/api/positions")
    def positions() -> Any:
        empty = fake.is_empty
        held = [position("AAPL", 240, 41.2, 42.1), position("IBM", -90, 92.4, 91.8),
                position(fake.text("MSFT"), 410, 25.1, 24.9)]  # fmt: skip
        order = {
            "id": "o", "symbol": "GOOG", "leg": "entry", "quantity": 40, "filled": 0.0, "at": None,
            "state": "unknown", "note": fake.text("timed out, looked up by id"), "signal": "s",
        }  # fmt: skip
        return {"at": None, "positions": [] if empty else held, "orders": [] if empty else [order]}

    @app.get("/api/decisions")
    def decisions(limit: int = 50) -> Any:
        empty = fake.is_empty
        return [] if empty else [decision(fake, n) for n in range(min(limit, 24))]

    @app.get("/api/log/checkpoint")
    def checkpoint() -> Any:
        return {"seq": None, "id": None, "count": 0, "at": None}

    @app.get("/api/sources")
    def get_sources() -> Any:
        return sources(fake)

    return app
