"""Sonar: one bounded opinion a symbol from Perplexity's Agent API; its words decide nothing."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from argo_alpine.domain import Reading, UnavailableSource
from argo_alpine.votes import checked_values
from services.argo.ports import Harvest, Meter
from services.argo.sources.lexicon import cleaned
from services.argo.sources.parse import (
    Unreadable,
    mapping,
    moment,
    not_ahead,
    number,
    rows,
    text,
)
from services.argo.sources.web import Failure, Web, brought, decoded

PATH = "/v1/agent"
LIFE = timedelta(hours=12)  # market time
USUAL_COST = 0.005  # US dollars, where the reply does not say, or there is none
LARGEST_COST = 10.0
LONGEST_NOTE, MOST_CITATIONS = 280, 50
DIRECTIONS = {"LONG": 1.0, "SHORT": -1.0, "NEUTRAL": 0.0}
FIELDS = ("direction", "confidence", "reason", "citations")
SCHEMA = {
    "type": "object",
    "properties": {
        "direction": {"type": "string", "enum": [*DIRECTIONS]},
        "confidence": {"type": "number", "minimum": 0, "maximum": 100},
        "reason": {"type": "string"},
        "citations": {"type": "array", "items": {"type": "string"}},
    },
    "required": [*FIELDS],
    "additionalProperties": False,
}
QUESTION = (
    "What is your opinion on the share ${} for the next few trading days? Answer LONG if its price "
    "is more likely to rise, SHORT if it is more likely to fall, NEUTRAL if neither. Confidence is "
    "the probability, in percent, that the direction is right. Give the reason in one sentence and "
    "cite the addresses of what it rests on."
)


class Sonar:
    """Implements `Source`. One question a symbol and round, within a budget."""

    name = "sonar"

    def __init__(
        self,
        *,
        base_url: str,
        key: str,
        symbols: Sequence[str],
        meter: Meter,
        model: str = "perplexity/sonar",
        every_seconds: float = 1800.0,  # market time
        daily_budget_usd: float = 5.0,
        monotonic: Callable[[], float] = monotonic,
        timeouts: tuple[float, float] = (2.0, 20.0),
        whole: float = 30.0,
    ) -> None:
        self.web = Web(
            "Perplexity", base_url, key, timeouts=timeouts, whole=whole, monotonic=monotonic
        )
        self.symbols, self.meter, self.model = tuple(symbols), meter, model
        self.every, self.budget = timedelta(seconds=every_seconds), daily_budget_usd
        self.answered: dict[str, datetime] = {}  # symbol -> market time of the last round

    def spent(self, at: datetime) -> bool:
        """Whether the rest of the day's budget does not pay for one more answer."""
        _, usd = self.meter.used(self.name, at.date())
        return usd + USUAL_COST > self.budget + 1e-9

    def due(self, at: datetime) -> bool:
        """Whether a symbol's turn has come."""
        return any(self.is_due(symbol, at) for symbol in self.symbols) and not self.spent(at)

    def is_due(self, symbol: str, at: datetime) -> bool:
        """Whether it is time; a clock that went back is no reason to wait."""
        last = self.answered.get(symbol)
        return last is None or not timedelta(0) <= at - last < self.every

    def fetch(self, at: datetime) -> Harvest:
        """Ask about every symbol whose turn it is. *Raises* `UnavailableSource`."""
        error: UnavailableSource | None = None
        readings: list[Reading] = []
        for symbol in self.symbols:
            if not self.is_due(symbol, at) or self.spent(at):
                continue
            try:
                readings.append(self.opinion(symbol, at))
                self.answered[symbol] = at
            except Failure as failed:
                error = error or failed
                if failed.is_general:
                    break
        return brought(Harvest(tuple(readings)), error)

    def opinion(self, symbol: str, at: datetime) -> Reading:
        """One answer, paid for whether it can be read or not. *Raises* `Failure`."""
        asked = f"POST {PATH} on {symbol}"
        try:
            said = self.web.post(PATH, self.question(symbol))
        except Failure as failed:
            unsaid = failed.status == 0 or 200 <= failed.status < 300
            self.meter.use(self.name, at.date(), 1, USUAL_COST if unsaid else 0.0)
            raise
        self.meter.use(self.name, at.date(), 1, cost_of(said))
        return self.web.understood(asked, lambda: reading_in(said, symbol, at))

    def question(self, symbol: str) -> dict[str, Any]:
        """The request: one share, a search of the last week, and a form to fill in."""
        search = {"type": "web_search", "filters": {"search_recency_filter": "week"}}
        form = {"name": "opinion", "strict": True, "schema": SCHEMA}
        return {
            "model": self.model,
            "input": QUESTION.format(symbol),
            "tools": [search],
            "response_format": {"type": "json_schema", "json_schema": form},
            "max_output_tokens": 600,
            "store": False,
        }


def reading_in(said: object, symbol: str, at: datetime) -> Reading:
    """An answer as a reading. *Raises* `Unreadable`."""
    reply = mapping(said, "the reply")
    words, seen = chat(reply) if "choices" in reply else agent(reply)
    seen = not_ahead(seen, at, "the time of the answer")
    direction, confidence, reason = filled(words)
    values = {"direction": direction, "confidence": confidence}
    reading = Reading("sonar", symbol, seen, seen + LIFE, values, reason)
    checked_values(reading)
    return reading


def agent(reply: Any) -> tuple[str, datetime]:  # the message, when it was completed
    """The Agent API's shape. *Raises* `Unreadable`."""
    if reply.get("status") != "completed" or reply.get("error"):
        raise Unreadable(f"the run is {reply.get('status')!r:.40}, not completed")
    seen = moment(reply.get("completed_at") or reply.get("created_at"), "completed_at")
    messages = [
        item
        for item in rows(reply.get("output"), "output")
        if isinstance(item, dict) and item.get("type") == "message"  # an open set: others are fine
    ]
    parts = [
        part
        for message in messages
        for part in rows(message.get("content"), "content")
        if isinstance(part, dict) and part.get("type") == "output_text"
    ]
    if len(parts) != 1:
        raise Unreadable(f"the output must be one text, was {len(parts)}")
    return text(parts[0].get("text"), "text"), seen


def chat(reply: Any) -> tuple[str, datetime]:
    """The shape retired in September 2026, for recorded answers. *Raises* `Unreadable`."""
    choices = rows(reply.get("choices"), "choices")
    if len(choices) != 1:
        raise Unreadable(f"choices must be one, was {len(choices)}")
    message = mapping(mapping(choices[0], "the choice").get("message"), "message")
    return text(message.get("content"), "content"), moment(reply.get("created"), "created")


def filled(words: str) -> tuple[float, float, str]:  # direction, confidence, reason
    """The form, checked again: the service does not guarantee it. *Raises* `Unreadable`."""
    said, flaw = decoded(words.encode("utf-8", "replace"))
    if flaw:
        raise Unreadable("the answer is prose, not the form that was asked for")
    form = mapping(said, "the answer")
    if {*form} != {*FIELDS}:
        raise Unreadable(f"the answer must have {', '.join(FIELDS)} and nothing else")
    direction = form["direction"]
    if not isinstance(direction, str) or direction not in DIRECTIONS:
        raise Unreadable(f"direction must be {', '.join(DIRECTIONS)}, was {direction!r:.60}")
    confidence = number(form["confidence"], "confidence")
    if not 0 <= confidence <= 100:
        raise Unreadable(f"confidence must be 0 to 100, was {confidence:g}")
    if not isinstance(form["reason"], str):
        raise Unreadable("reason must be a text")
    sources = rows(form["citations"], "citations")
    if len(sources) > MOST_CITATIONS or not all(isinstance(s, str) for s in sources):
        raise Unreadable(f"citations must be at most {MOST_CITATIONS} texts")
    return DIRECTIONS[direction], confidence, cleaned(form["reason"], LONGEST_NOTE)


def cost_of(said: object) -> float:
    """What an answer cost in US dollars, as the vendor says, else as usual."""
    usage = said.get("usage") if isinstance(said, dict) else None
    cost = usage.get("cost") if isinstance(usage, dict) else None
    total = cost.get("total_cost") if isinstance(cost, dict) else cost
    try:
        found = number(total, "total_cost")
    except Unreadable:
        return USUAL_COST
    return found if 0 <= found <= LARGEST_COST else USUAL_COST
