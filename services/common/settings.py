"""What a person has set, checked as a whole, and what the engine makes of it."""

import difflib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_origin

from pydantic import BaseModel, SecretStr, ValidationError

from argo_alpine.consensus import ConsensusPolicy
from argo_alpine.domain import InvalidSettings
from argo_alpine.engine import Policy
from argo_alpine.risk import RiskPolicy
from argo_alpine.sizing import SizingPolicy
from argo_alpine.votes import SOURCES
from services.common.fields import is_loopback
from services.common.sections import WEIGHTS, Settings

PREFIX = "ARGO_"
FILE = Path("config.json")
PRODUCTION = Path("/etc/argo-alpine/config.json")
SANDBOX_KEY = "sandbox"  # any key that starts so opens the sandbox, and only that
HISTORY = date(2000, 1, 1)  # where the sandbox's prices begin

Keys: TypeAlias = tuple[str | int, ...]  # from the top: ("trading", "stop_pct")
Environment: TypeAlias = Literal["development", "production"]


def leaves(
    model: type[BaseModel], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every key that may be set, with the type of its value."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from leaves(kind, (*path, name))
        elif (*path, name) != ("environment",):
            yield (*path, name), kind


KNOWN = dict(leaves(Settings))
SECRET = {path[-1] for path, kind in KNOWN.items() if kind is SecretStr}
VARIABLES = {PREFIX + "__".join(path).upper(): path for path in KNOWN}

TYPES = {
    "float_type": "is no number: write it without quotes",
    "finite_number": "is not a finite number: write one",
    "int_type": "is no whole number: write it without quotes and without a point",
    "bool_type": "is neither: write true or false, without quotes",
    "string_type": "is no text: put it into quotes",
    "tuple_type": 'is no list: write ["AAPL", "IBM"]',
    "dict_type": 'is no object: write {"AAPL": "tech"}',
    "model_type": "is no section: write {...} with its keys",
    "date_type": "is no date: write it like 2000-01-31",
}


def load(
    path: Path | None = None,  # None: the production file in production, else ./config.json if any
    env: Mapping[str, str] | None = None,  # None: of this process
    production: Path = PRODUCTION,
) -> Settings:
    """The settings from a file, and from the environment over it. *Raises* `InvalidSettings`."""
    env = os.environ if env is None else env
    environment = environment_of(env, production)
    if path is None:
        chosen = environment == "production" and os.path.isfile(production)
        path = production if chosen else FILE if os.path.lexists(FILE) else None
    data, problems = ({}, []) if path is None else read(path)
    where: dict[Keys, str] = {}
    problems += overlaid(data, env, where)
    return validated(data, environment, str(path or "the environment"), problems, where)


def environment_of(env: Mapping[str, str], production: Path) -> Environment:
    """Development, unless somebody who may say so says production."""
    said = env.get("ARGO_ENV", "")
    if said == "production":
        return "production"
    if said == "development":
        return "development"
    if said:
        raise InvalidSettings(f"ARGO_ENV = {text(said)}: write development or production")
    # a file that we may not even see is not ours
    ours = os.path.isfile(production) and production.stat().st_uid == os.geteuid()
    return "production" if ours else "development"


# -- the file --------------------------------------------------------------------------------------


class Pairs(dict[str, Any]):
    """A JSON object that remembers which of its keys were given more than once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        names = [name for name, _ in pairs]
        self.twice = sorted({name for name in names if names.count(name) > 1})


def read(path: Path) -> tuple[dict[str, Any], list[str]]:
    """What a file says, and what is wrong with how it says it. *Raises* `InvalidSettings`."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode  # of what is read, not of what came after
            said = file.read().decode("utf-8-sig")
        data = json.loads(said, object_pairs_hook=Pairs)
        problems = [*repeated(data), *exposed(data, path, mode)]
    except OSError as error:
        raise InvalidSettings(
            f"{path} cannot be read: {error.strerror}; name a file that can"
        ) from error
    except json.JSONDecodeError as error:
        raise InvalidSettings(
            f"{path} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}; "
            "compare with config.example.json"
        ) from None  # the error itself holds the whole text, keys included
    except (ValueError, RecursionError) as error:
        raise InvalidSettings(
            f"{path} is not JSON as UTF-8 ({type(error).__name__}): save it anew"
        ) from None
    if not isinstance(data, Pairs):
        raise InvalidSettings(f"{path} is no object: compare with config.example.json")
    return data, problems


def repeated(data: object, path: str = "") -> Iterator[str]:
    """A problem for every key that is given more than once, however deep."""
    for name in data.twice if isinstance(data, Pairs) else ():
        yield f"{path}{plainly(name)}: is given more than once: keep one"
    if isinstance(data, dict):
        for name, value in data.items():
            yield from repeated(value, f"{path}{plainly(name)}.")


def exposed(data: object, path: Path, mode: int) -> list[str]:
    """A problem if others may read or change a file that holds a key."""
    if holds_secret(data) and mode & (stat.S_IRWXG | stat.S_IRWXO):
        return [
            f"{path}: holds a key and others may use it (mode {stat.S_IMODE(mode):04o}): "
            f"chmod 600 {path}"
        ]
    return []


def holds_secret(data: object) -> bool:
    """Whether any key of ours is filled in."""
    if not isinstance(data, dict):
        return False
    return any((name in SECRET and value) or holds_secret(value) for name, value in data.items())


# -- the environment -------------------------------------------------------------------------------


def overlaid(data: dict[str, Any], env: Mapping[str, str], where: dict[Keys, str]) -> list[str]:
    """Put variables over what a file says; the names that mean nothing."""
    problems = []
    for name in sorted(n for n in env if n.startswith(PREFIX) and n != "ARGO_ENV"):
        near = difflib.get_close_matches(name, VARIABLES, 1, 0.6 if "__" in name else 0.9)
        if path := VARIABLES.get(name):
            where[path] = name
            put(data, path, meant(env[name], KNOWN[path]))
        elif near or "__" in name:  # other programs' names may begin like ours
            problems.append(
                f"{plainly(name)}: is unknown: {f'write {near[0]}' if near else 'remove it'}"
            )
    return problems


def put(data: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    """Set a value in nested objects, unless something else is in the way."""
    for name in path[:-1]:
        inner = data.setdefault(name, {})
        if not isinstance(inner, dict):
            return  # reported as no section
        data = inner
    data[path[-1]] = value


def meant(said: str, kind: Any) -> object:
    """The value a variable stands for; its own text where it stands for none."""
    if kind in (str, SecretStr, date):
        return said
    if get_origin(kind) is tuple and not said.lstrip().startswith("["):
        return [symbol.strip() for symbol in said.split(",")] if said.strip() else []
    try:
        return json.loads(said.lower() if kind is bool else said)
    except (ValueError, RecursionError):
        return said


# -- what is wrong ---------------------------------------------------------------------------------


def validated(
    data: Mapping[str, Any],
    environment: Environment,
    origin: str,
    problems: list[str] | None = None,  # found before
    where: Mapping[Keys, str] | None = None,  # keys that came from a variable
) -> Settings:
    """The settings, or every problem. *Raises* `InvalidSettings`."""
    found = list(problems or ())
    if "environment" in data:
        found.append("environment: cannot be set here: set ARGO_ENV")
    try:
        settings = Settings.model_validate({**data, "environment": environment})
    except ValidationError as error:
        found += [problem(dict(e), where or {}) for e in error.errors(include_url=False)]
    if found:
        count = "a problem" if len(found) == 1 else f"{len(found)} problems"
        raise InvalidSettings("\n  ".join([f"{origin} has {count}:", *found]))
    return settings


def problem(error: Mapping[str, Any], where: Mapping[Keys, str]) -> str:
    """One line: the key, its value, what is wrong, the remedy."""
    path: Keys = error["loc"]
    name = ".".join(plainly(part) for part in path)
    origin = next((f" ({v})" for k, v in where.items() if path[: len(k)] == k), "")
    if error["type"] == "extra_forbidden":
        return f"{name} = {masked(error['input'])}: is unknown: {nearest(path)}"
    reason = error.get("ctx", {}).get("error") or TYPES.get(error["type"], error["msg"])
    return f"{name}{origin} = {value_of(path, error['input'])}: {reason}"


def nearest(path: Keys) -> str:
    """What was probably meant by an unknown key."""
    here, name = path[:-1], str(path[-1])
    siblings = {p[len(here)] for p in KNOWN if p[: len(here)] == here and len(p) > len(here)}
    if near := difflib.get_close_matches(name, sorted(siblings), 1):
        return f"write {near[0]}"
    names = {p[-1]: ".".join(p) for p in reversed(KNOWN)}
    if near := difflib.get_close_matches(name, sorted(names), 1, 0.8):
        return f"did you mean {names[near[0]]}?"
    return f"remove it; known here: {', '.join(sorted(siblings))}"


def value_of(path: Keys, value: object) -> str:
    """A value as text; never a key, nor what may hold one."""
    is_leaf = any(path[: len(known)] == known for known in KNOWN)
    if path[-1] in SECRET or not is_leaf:
        return masked(value)
    return text(re.sub(r"//[^/]*@|[?#].*", "***", value) if isinstance(value, str) else value)


def masked(value: object) -> str:
    """A value that may be a key put in the wrong place."""
    return text(value) if isinstance(value, bool | float | None) else "***"


def text(value: object) -> str:
    """A value as one short line of JSON."""
    try:
        shown = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        shown = type(value).__name__
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def plainly(part: object) -> str:
    """A key as it may be shown: short, and on one line."""
    return text(str(part))[1:-1]


# -- what is made of it ----------------------------------------------------------------------------


def policy(settings: Settings) -> Policy:
    """The knobs of a decision."""
    strategy, trading = settings.strategy, settings.trading
    weights = {
        s: round(getattr(strategy, w) * 10_000) for s, w in zip(SOURCES, WEIGHTS, strict=True)
    }
    return Policy(
        consensus=ConsensusPolicy(weights, trading.min_confidence, strategy.quorum),
        risk=RiskPolicy(
            daily_loss_pct=trading.max_daily_loss_pct,
            drawdown_pct=trading.max_drawdown_pct,
            allowed=strategy.symbols,
            groups=dict(strategy.groups),
        ),
        sizing=SizingPolicy(
            base_pct=trading.position_size_pct,
            from_pct=trading.min_confidence,
            stop_pct=trading.stop_pct,
            target_pct=trading.target_pct,
            is_limit=trading.limit_entries,
            limit_bps=trading.limit_bps,
        ),
    )


def sandboxed(settings: Settings, *, host: str, port: int, control_port: int) -> Settings:
    """The same, with the sandbox for the outside world. *Raises* `InvalidSettings`."""
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    base, opened = f"http://{place}", {"api_key": SANDBOX_KEY}
    account = {
        **opened,
        "secret_key": SANDBOX_KEY,
        "base_url": f"{base}/alpaca",
        "stream_url": f"ws://{place}/alpaca/stream",
    }
    changes: dict[str, dict[str, Any]] = {
        "massive": {**opened, "base_url": f"{base}/massive", "epoch": HISTORY},
        "alpha_vantage": {
            **opened,
            "base_url": f"{base}/alpha_vantage",
            "calls_per_minute": 1200,
        },
        "x_api": {"bearer_token": SANDBOX_KEY, "base_url": f"{base}/x"},
        "sonar": {**opened, "base_url": f"{base}/perplexity"},
        "alpaca": {"dev": account, "production": account},
        "trading": {"auto_execute": True},
        "argo": {"book": "sandbox"},
        "sandbox": {"host": host, "port": port, "control_port": control_port},
    }
    data = settings.model_dump(exclude={"environment"})
    data |= {name: {**data[name], **change} for name, change in changes.items()}
    return validated(data, settings.environment, "the sandbox's profile")


def check_execution(settings: Settings) -> None:
    """Refuse to send orders beyond this machine. *Raises* `InvalidSettings`."""
    broker = settings.broker
    away = [u for u in (broker.base_url, broker.stream_url) if not is_loopback(u)]
    if settings.trading.auto_execute and away:
        raise InvalidSettings(
            f"trading.auto_execute = true, and the broker is {away[0]}: trading outside the "
            "sandbox is not enabled in this version: set trading.auto_execute to false"
        )


def redacted(settings: Settings) -> dict[str, Any]:
    """The settings for others to see."""
    data = settings.model_dump(mode="json")
    for path, secret in keys(settings):
        put(data, path, "***" if secret else "")
    return data


def secrets(settings: Settings) -> tuple[str, ...]:
    """Every key that is set, for the redactor of logs; the sandbox's is no secret."""
    said = {secret for _, secret in keys(settings)}
    said |= {part for secret in said for part in secret.split(",")}  # old and new, while rotating
    found = said - {"", SANDBOX_KEY}
    return tuple(sorted(found))


def keys(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every key, with its path."""
    for path in (p for p, kind in KNOWN.items() if kind is SecretStr):
        value: Any = settings
        for name in path:
            value = getattr(value, name)
        yield path, value.get_secret_value()
