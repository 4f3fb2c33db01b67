"""A stand-in for Perplexity's Agent API: synthetic research that says what it is."""

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from argo_alpine.sessions import microseconds
from services.common.clock import Clock
from services.sandbox.replies import (
    Allowance,
    Answered,
    Json,
    answer,
    bearer,
    dashed,
    is_ours,
)
from services.sandbox.tape import trend
from services.sandbox.world import SECOND, World, seeded

CALLS = 50  # a minute
FULL_TREND = 5.0  # ATRs in ten days at which the analyst is as sure as it gets
DEAD_BAND = 0.15
RECENCY = ("hour", "day", "week", "month", "year")
MARK = "[sandbox] synthetic"
RETIRED = (
    "Sonar is now the Agent API. Use /v1/responses instead of /v1/sonar. Migrate here: "
    "https://docs.perplexity.ai/docs/agent-api/migrate-from-sonar/overview"
)
BAD_KEY = "Invalid API key provided. Ensure your API key is correct and active."
WORDS = {
    1: ("long", "bullish", "buy", "up", "1", "positive"),
    -1: ("short", "bearish", "sell", "down", "-1", "negative"),
    0: ("neutral", "none", "hold", "flat", "0", "mixed"),
}


def failure(status: int, kind: str, message: str) -> Answered:
    """An error as Perplexity writes it."""
    return Answered(answer({"error": {"message": message, "type": kind, "code": status}}, status))


def not_found(path: str) -> Response:
    """Perplexity's answer to an unknown path."""
    return failure(404, "not_found", f"Not Found: {path}").response


@dataclass(frozen=True, slots=True)
class View:
    """What the analyst thinks."""

    symbol: str  # empty: the question names none
    direction: int  # 1 long, -1 short, 0 neither
    confidence: float  # percent
    reason: str


def symbol_in(text: str, symbols: tuple[str, ...]) -> str:
    """The first symbol a text names, as `$AAPL` or `AAPL`; empty when there is none."""
    named = "|".join(map(re.escape, symbols))
    match = re.search(rf"(?<![A-Za-z])\$?({named})(?![A-Za-z])", text)
    return match[1] if match else ""


def view(world: World, symbol: str) -> View:
    """An opinion from completed bars and dice thrown once a window."""
    if not symbol:
        return View("", 0, 50.0, f"{MARK}: the question names no symbol of the sandbox")
    strength = trend(world.known(symbol))
    noise = float(seeded("analyst", symbol, world.day, world.window).normal())
    score = math.tanh(strength / FULL_TREND + 0.15 * noise)
    direction = 0 if abs(score) < DEAD_BAND else int(math.copysign(1, score))
    mood = {1: "buyers are in control", -1: "sellers are in control", 0: "no side leads"}
    moved = f"{symbol} moved {strength:+.1f} average true ranges in ten sessions"
    confidence = round(50 + 45 * abs(score), 1)
    return View(symbol, direction, confidence, f"{MARK}: {moved}; {mood[direction]}")


def sources(world: World, opinion: View) -> list[Json]:
    """Search results that nobody can mistake for the web."""
    about = opinion.symbol or "market"
    day = world.known(opinion.symbol).dates()[-1:] if opinion.symbol else []
    return [
        {
            "date": (day or [world.day.isoformat()])[0],
            "id": i,
            "last_updated": f"{world.at:%Y-%m-%d}",
            "snippet": f"{opinion.reason} ({kind})",
            "source": "web",
            "title": f"{MARK} {kind} on {about}",
            "url": f"https://sandbox.invalid/{about}/{kind}",
        }
        for i, kind in enumerate(("prices", "commentary"), 1)
    ]


def worded(direction: int, choices: list[Any]) -> Any:
    """A direction in the schema's own words."""
    for choice in choices:
        if str(choice).lower() in WORDS[direction]:
            return choice
    return choices[0] if choices else {1: "LONG", -1: "SHORT", 0: "NEUTRAL"}[direction]


def filled(name: str, rule: Json, opinion: View, found: list[Json]) -> Any:
    """One property of a structured answer."""
    kind = rule.get("type")
    if name == "direction":
        choices = rule.get("enum") or ([1, 0, -1] if kind in ("integer", "number") else [])
        return worded(opinion.direction, choices)
    if name == "confidence":
        share = float(rule.get("maximum", 100)) <= 1
        return opinion.confidence / 100 if share else cut(opinion.confidence, kind)
    if name == "citations":
        numbers = rule.get("items", {}).get("type") in ("integer", "number")
        return [result["id" if numbers else "url"] for result in found]
    if name in ("symbol", "ticker"):
        return opinion.symbol
    blanks: Json = {"integer": 0, "number": 0.0, "boolean": False, "array": [], "object": {}}
    return blanks.get(str(kind), opinion.reason)


def cut(value: float, kind: object) -> float | int:
    """A whole number where the schema wants one."""
    return int(value) if kind == "integer" else value


def schema_of(told: Json) -> Json | None:
    """The schema of the answer. *Raises* the vendor's 400 for one that is not an object."""
    wanted = told.get("response_format")
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
        return None
    schema: Json = wanted.get("json_schema", {}).get("schema", {})
    if schema.get("type") != "object":
        raise failure(400, "invalid_request", "response_format: schema root must be an object")
    return schema


def text(schema: Json | None, opinion: View, found: list[Json]) -> str:
    """The message: JSON as a string, or prose with marks."""
    if schema is None:
        return f"{opinion.reason} [1][2]"
    rules = schema.get("properties", {})
    return json.dumps({name: filled(name, rule, opinion, found) for name, rule in rules.items()})


def question(told: Json) -> str:
    """The input as one text. *Raises* the vendor's 400."""
    asked, model = told.get("input"), told.get("model")
    if not asked:
        raise failure(400, "invalid_request", "validation failed: input is required")
    if not (model or told.get("preset") or told.get("models")):
        raise failure(400, "invalid_request", "validation failed: model or preset is required")
    if model is not None and "/" not in str(model):
        raise failure(400, "invalid_model", f"Model '{model}' is not supported")
    for i, tool in enumerate(told.get("tools") or []):
        recency = tool.get("filters", {}).get("search_recency_filter")
        if recency is not None and recency not in RECENCY:
            one = f"search recency filter must be one of: {' '.join(RECENCY)}"
            raise failure(400, "invalid_request", f"validation failed: tools[{i}]: {one}")
    return asked if isinstance(asked, str) else json.dumps(asked)


def usage(asked: str, said: str) -> Json:
    """What it costs: one search and the tokens."""
    tokens, written = 400 + len(asked) // 4, len(said) // 4 + 1
    money = {"input_cost": round(tokens * 2.5e-7, 6), "output_cost": round(written * 1e-6, 6)}
    total = round(sum(money.values()) + 0.001, 6)
    cost = {"currency": "USD", **money, "tool_calls_cost": 0.001, "total_cost": total}
    return {
        "cost": {**cost, "tool_calls_cost_details": {"search_web": 0.001}},
        "input_tokens": tokens,
        "input_tokens_details": {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "tool_calls_details": {"search_web": {"cost_usd": 0.001, "invocation": 1}},
        "total_tokens": tokens + written,
    }


def response(world: World, told: Json) -> Json:
    """A completed run, dated in the world's time."""
    asked, schema = question(told), schema_of(told)
    opinion = view(world, symbol_in(asked, world.symbols))
    found = sources(world, opinion)
    said = text(schema, opinion, found)
    at, mark = microseconds(world.at) // SECOND, (asked, world.now)
    search = {"queries": [asked[:200]], "results": found, "type": "search_results"}
    content = [{"annotations": [], "text": said, "type": "output_text"}]
    message = {"content": content, "id": f"msg_{dashed('message', *mark)}", "role": "assistant"}
    return {
        "background": False,
        "completed_at": at,
        "created_at": at,
        "error": None,
        "id": f"resp_{dashed('response', *mark)}",
        "incomplete_details": None,
        "instructions": told.get("instructions"),
        "max_output_tokens": told.get("max_output_tokens"),
        "metadata": {},
        "model": told.get("model") or "perplexity/sonar",
        "object": "response",
        "output": [search, {**message, "status": "completed", "type": "message"}],
        "status": "completed",
        "store": True,
        "text": {"format": {"type": "text"}},  # also with a schema: so was it recorded
        "tools": [{"type": "web_search"}],
        "usage": usage(asked, said),
        "user": None,
    }


def router(world: World, clock: Clock, calls: int = CALLS) -> APIRouter:
    """Perplexity's paths."""
    routes = APIRouter(prefix="/perplexity")
    minute = Allowance(calls, 60.0, clock)

    def authenticated(request: Request) -> None:
        if not is_ours(bearer(request)):
            raise failure(401, "invalid_api_key", BAD_KEY)

    @routes.post("/v1/agent")
    @routes.post("/v1/responses")
    async def agent(request: Request) -> Response:
        """One question, one answer."""
        authenticated(request)
        if not minute.spend():
            late = "Request rate limit exceeded, please try again later."
            raise failure(429, "request_rate_limit_exceeded", late)
        try:
            told = await request.json()
        except ValueError as error:
            raise failure(400, "invalid_request", "invalid JSON body") from error
        if not isinstance(told, dict):
            raise failure(400, "invalid_request", "the body must be an object")
        headers = {
            "x-ratelimit-limit": str(calls),
            "x-ratelimit-remaining": str(minute.remaining),
            "x-ratelimit-used": str(minute.used),
            "x-ratelimit-reset": str(minute.resets),
            "x-request-id": dashed("request", told, world.now),
        }
        return answer(response(world, told), 200, headers)

    @routes.post("/chat/completions")
    @routes.post("/v1/chat/completions")
    @routes.post("/v1/sonar")
    async def retired(request: Request) -> Response:
        """What the old interface answers since it ended."""
        authenticated(request)
        raise failure(403, "chat_completions_not_available", RETIRED)

    return routes
