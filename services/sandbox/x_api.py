"""A stand-in for X: recent search over synthetic posts, each of which says what it is."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import Response

from argo_alpine.sessions import instant, microseconds
from services.common.clock import Clock
from services.sandbox.replies import Allowance, Answered, Json, answer, bearer, is_ours
from services.sandbox.tape import trend
from services.sandbox.world import LONGEST_DWELL, SECOND, WINDOWS, World, seeded

SEARCHES, PERIOD = 450, 900.0  # per app, in 15 minutes
DAYS = timedelta(days=7)  # how far "recent" reaches
LONGEST_QUERY = 512
FEWEST, MOST = 6, 12  # posts about one symbol in one window
EARLIEST = 240_000  # milliseconds before the window
CHATTER = 0.25  # share of posts without an opinion
CROWD = 400  # people who write about one symbol
FULL_TREND = 5.0  # ATRs in ten days at which opinion is as one-sided as it gets
PROBLEM = "https://api.x.com/2/problems/"
MARK = "[sandbox]"

BULLISH = (
    "${} looks bullish to me, strong close and buyers keep coming",
    "breakout on ${}, volume confirms, adding here",
    "another upgrade for ${}, analysts love the numbers",
    "${} should beat again this quarter, strong demand everywhere",
    "nice rally in ${}, I stay long",
    "${} outperforms the whole sector, great momentum",
    "bought more ${}, growth is excellent and the chart is strong",
)
BEARISH = (
    "${} looks bearish, every bounce gets sold",
    "breakdown on ${}, support is gone, careful",
    "downgrade for ${}, the numbers are weak",
    "${} will miss this quarter, demand is weak",
    "ugly selloff in ${}, I am out",
    "${} underperforms the whole sector, terrible momentum",
    "sold my ${}, losses pile up and the chart is broken",
)
NEUTRAL = (
    "watching ${} today, no position",
    "anyone know when ${} reports?",
    "${} trading in its usual range",
    "reading the annual report of ${} over lunch",
)


@dataclass(frozen=True, slots=True)
class Post:
    """One post."""

    id: int  # ascending with time
    symbol: str
    at: int  # microseconds UTC
    author: int
    text: str


def anchor(world: World, row: int, window: str) -> int:
    """When the talk of a window has been written, whatever the dwell."""
    if window == "close":
        return int(world.tape.bars.at[row]) - round(LONGEST_DWELL * SECOND)
    return world.begins(row, window)


def bullish_share(strength: float, noise: float) -> float:
    """How many of those with an opinion are bullish, 0.05 to 0.95."""
    conviction = float(np.clip(strength / FULL_TREND, -1.0, 1.0))
    return float(np.clip(0.5 + 0.4 * conviction + 0.1 * noise, 0.05, 0.95))


def wording(symbol: str, rng: np.random.Generator, share: float) -> str:
    """One opinion, or none."""
    opinions = BULLISH if rng.random() < share else BEARISH
    phrases = NEUTRAL if rng.random() < CHATTER else opinions
    return f"{phrases[int(rng.integers(len(phrases)))].format(symbol)} {MARK}"


def talk(world: World, symbol: str, row: int, window: str) -> tuple[Post, ...]:
    """What is written about a symbol before a window, from bars completed by the first post."""
    until = anchor(world, row, window)
    past = world.tape.until(symbol, until - EARLIEST * 1000)
    day = str(world.tape.days[row].astype("datetime64[D]"))
    rng = seeded("posts", symbol, day, window)
    share = bullish_share(trend(past), float(rng.normal()))
    number = int(rng.integers(FEWEST, MOST + 1))
    people = rng.choice(CROWD, number, replace=False)
    offsets = np.sort(rng.integers(1_000, EARLIEST, number))[::-1]  # milliseconds before
    rank = world.symbols.index(symbol)
    return tuple(
        Post(
            # as theirs: time first, so that ids ascend; the rest keeps symbols apart
            id=((until // 1000 - int(offsets[i])) << 22) + (rank << 8) + i,
            symbol=symbol,
            at=until - int(offsets[i]) * 1000,
            author=(rank + 1) * 1_000_000 + int(people[i]),
            text=wording(symbol, rng, share),
        )
        for i in range(number)
    )


class Feed:
    """All posts up to now, newest first."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.talk = lru_cache(maxsize=2048)(self.fresh)

    def fresh(self, symbol: str, row: int, window: str) -> tuple[Post, ...]:
        """Posts of one window, newest first."""
        return tuple(sorted(talk(self.world, symbol, row, window), key=by_id, reverse=True))

    def windows(self) -> Iterator[tuple[int, str]]:
        """Windows of the last seven days, newest first."""
        world = self.world
        oldest = world.now - DAYS // timedelta(microseconds=1)
        for row in range(world.row, -1, -1):
            if world.tape.bars.at[row] < oldest:
                return
            for window in reversed(WINDOWS):
                if anchor(world, row, window) <= world.now:
                    yield row, window

    def posts(self, symbols: list[str]) -> list[Post]:
        """Posts about some symbols, never one that is not written yet."""
        now = self.world.now
        found = (p for row, w in self.windows() for s in symbols for p in self.talk(s, row, w))
        return sorted((p for p in found if p.at <= now), key=by_id, reverse=True)


def by_id(post: Post) -> int:
    """The order of posts."""
    return post.id


def rfc3339(at: int) -> str:
    """A time as X writes it."""
    return f"{instant(at):%Y-%m-%dT%H:%M:%S}.{at % SECOND // 1000:03d}Z"


def shown(post: Post, fields: set[str]) -> Json:
    """A post with the fields asked for."""
    begin = post.text.index(f"${post.symbol}")
    tag = {"start": begin, "end": begin + len(post.symbol) + 1, "tag": post.symbol}
    extra: Json = {
        "author_id": str(post.author),
        "created_at": rfc3339(post.at),
        "entities": {"cashtags": [tag]},
        "lang": "en",
        "public_metrics": {
            name: 0 for name in ("retweet_count", "reply_count", "like_count", "quote_count")
        },
    }
    always = {"id": str(post.id), "text": post.text, "edit_history_tweet_ids": [str(post.id)]}
    return always | {name: value for name, value in extra.items() if name in fields}


def problem(status: int, title: str, detail: str, kind: str = "about:blank") -> Answered:
    """An error as X writes it."""
    body = {"title": title, "type": kind, "status": status, "detail": detail}
    if status == 400:
        del body["status"]  # theirs has none here
    return Answered(answer(body, status, kind="problem+json"))


def invalid(detail: str) -> Answered:
    """A request that cannot be meant."""
    return problem(400, "Invalid Request", detail, f"{PROBLEM}invalid-request")


def not_found(path: str) -> Response:
    """X's answer to an unknown path."""
    return problem(404, "Not Found", f"no such endpoint: {path}").response


def number(told: Mapping[str, str], name: str) -> int | None:
    """An id. *Raises* the vendor's 400 when it is not a number."""
    text = told.get(name)
    if text is not None and not text.isdecimal():
        raise invalid(f"The `{name}` query parameter value [{text}] is not valid")
    return None if text is None else int(text)


def moment(told: Mapping[str, str], name: str) -> int | None:
    """A time, microseconds UTC. *Raises* the vendor's 400."""
    if (text := told.get(name)) is None:
        return None
    try:
        return microseconds(datetime.fromisoformat(text))
    except Exception as error:
        raise invalid(f"The `{name}` query parameter value [{text}] is not valid") from error


@dataclass(frozen=True, slots=True)
class Search:
    """What a search asks for."""

    symbols: list[str]
    most: int
    after: int  # id, exclusive
    before: int | None  # id, exclusive
    since: int  # microseconds UTC
    until: int | None
    fields: set[str]

    def wants(self, post: Post) -> bool:
        """Whether a post belongs into the answer."""
        early = self.before is None or post.id < self.before
        old = self.until is None or post.at < self.until
        return post.id > self.after and post.at >= self.since and early and old


def search_of(told: Mapping[str, str]) -> Search:
    """*Raises* the vendor's 400."""
    query = told.get("query", "")
    if not query:
        raise invalid("The 'query' parameter is required.")
    if len(query) > LONGEST_QUERY:
        raise invalid(f"The query length of {len(query)} exceeds the limit of {LONGEST_QUERY}.")
    most = number(told, "max_results")
    if most is not None and not 10 <= most <= 100:
        raise invalid(f"The `max_results` query parameter value [{most}] is not between 10 and 100")
    fields = told.get("tweet.fields", told.get("post.fields", ""))
    token = told.get("next_token", told.get("pagination_token", ""))
    edges = [number(told, "until_id")] + ([unpacked(token)] if token else [])
    return Search(
        [tag.upper() for tag in dict.fromkeys(re.findall(r"\$([A-Za-z]{1,6})\b", query))],
        most or 10,
        number(told, "since_id") or -1,
        min((edge for edge in edges if edge is not None), default=None),
        moment(told, "start_time") or -1,
        moment(told, "end_time"),
        set(fields.split(",")),
    )


def packed(post: Post) -> str:
    """Where the next page begins, as a word."""
    return f"b26v{np.base_repr(post.id, 36).lower()}"


def unpacked(token: str) -> int:
    """The same as an id. *Raises* the vendor's 400."""
    try:
        return int(token.removeprefix("b26v"), 36)
    except ValueError as error:
        raise invalid(f"The `next_token` value [{token}] is not valid") from error


def found(feed: Feed, search: Search) -> Json:
    """One page of an answer."""
    known = [symbol for symbol in search.symbols if symbol in feed.world.symbols]
    posts = [post for post in feed.posts(known) if search.wants(post)]
    some = posts[: search.most]
    if not some:
        return {"meta": {"result_count": 0}}
    meta: Json = {"newest_id": str(some[0].id), "oldest_id": str(some[-1].id)}
    meta |= {"result_count": len(some)}
    if len(posts) > len(some):
        meta["next_token"] = packed(some[-1])
    return {"data": [shown(post, search.fields) for post in some], "meta": meta}


def router(world: World, clock: Clock, searches: int = SEARCHES) -> APIRouter:
    """X's paths."""
    routes = APIRouter(prefix="/x")
    feed, quarter = Feed(world), Allowance(searches, PERIOD, clock)

    @routes.get("/2/tweets/search/recent")
    async def recent(request: Request) -> Response:
        """Posts of the last seven days, newest first."""
        if not is_ours(bearer(request)):
            raise problem(401, "Unauthorized", "Unauthorized")
        allowed = quarter.spend()
        headers = {
            "x-rate-limit-limit": str(searches),
            "x-rate-limit-remaining": str(quarter.remaining),
            "x-rate-limit-reset": str(quarter.resets),
        }
        if not allowed:
            refused = problem(429, "Too Many Requests", "Too Many Requests")
            refused.response.headers.update(headers)
            raise refused
        return answer(found(feed, search_of(request.query_params)), 200, headers)

    return routes
