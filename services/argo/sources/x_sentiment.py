"""X: what many people say of a share, counted one author one voice, within a budget."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from time import monotonic
from typing import Any

from argo_alpine.domain import Reading, UnavailableSource
from argo_alpine.votes import checked_values, mood
from services.argo.ports import Harvest, Meter
from services.argo.sources import lexicon
from services.argo.sources.parse import Unreadable, mapping, not_ahead, rows, text, written
from services.argo.sources.web import Failure, Web, brought, count_of

PATH = "/2/tweets/search/recent"
PRICE = 0.005  # US dollars a post
LONGEST_QUERY = 512
FEWEST, MOST = 10, 100  # posts a page may be asked for
MEMORY = timedelta(hours=3)  # market time
TAIL = " lang:en -is:retweet"
CASHTAG = re.compile(r"(?<![\w$])\$([A-Za-z]{1,6}(?:[._][A-Za-z]{1,2})?)(?![\w$])")
SILENCE, LONGEST_SILENCE = 60.0, 900.0  # real seconds after "too many requests"


@dataclass(frozen=True, slots=True)
class Post:
    """What is kept of a post; not its text."""

    id: str
    symbols: tuple[str, ...]  # of ours, named by cashtag
    author: str
    score: float  # -1..1
    at: datetime


@dataclass(slots=True)
class Search:
    """One query and how far it has come."""

    query: str
    asked: datetime | None = None  # market time
    newest: str = ""  # id
    newest_at: datetime | None = None

    def is_due(self, at: datetime, every: timedelta) -> bool:
        """Whether it is time; a clock that went back is no reason to wait."""
        return self.asked is None or not timedelta(0) <= at - self.asked < every

    def since(self, at: datetime) -> dict[str, str]:
        """Where to go on: an old id may be refused, and what is older does not count anyway."""
        if self.newest_at and timedelta(0) <= at - self.newest_at < MEMORY:
            return {"since_id": self.newest}
        return {"start_time": f"{at - MEMORY:%Y-%m-%dT%H:%M:%SZ}"}


def queries(symbols: Sequence[str]) -> list[str]:
    """As few queries as the length limit allows."""
    batches: list[list[str]] = []
    for symbol in symbols:
        if batches and len(query_of([*batches[-1], symbol])) <= LONGEST_QUERY:
            batches[-1].append(symbol)
        else:
            batches.append([symbol])
    return [query_of(batch) for batch in batches]


def query_of(symbols: Sequence[str]) -> str:
    """Posts in English that name one of these, without mere repetitions."""
    return "(" + " OR ".join(f"${symbol}" for symbol in symbols) + ")" + TAIL


class XSentiment:
    """Implements `Source`. One page a query and fetch; posts of the last hours stay in memory."""

    name = "x_sentiment"

    def __init__(
        self,
        *,
        base_url: str,
        key: str,
        symbols: Sequence[str],
        meter: Meter,
        every_seconds: float = 120.0,  # market time
        daily_budget_usd: float = 5.0,
        monotonic: Callable[[], float] = monotonic,
        timeouts: tuple[float, float] = (2.0, 5.0),
        whole: float = 10.0,
    ) -> None:
        self.web = Web("X", base_url, key, timeouts=timeouts, whole=whole, monotonic=monotonic)
        self.symbols, self.meter = tuple(symbols), meter
        self.every, self.budget = timedelta(seconds=every_seconds), daily_budget_usd
        self.monotonic = monotonic
        self.searches = [Search(query) for query in queries(self.symbols)]
        self.posts: dict[tuple[str, str], Post] = {}  # by id and symbol
        self.quiet_until = monotonic()
        self.capped_on: object = None  # the day on which the vendor said that no credit is left

    def affordable(self, at: datetime) -> int:
        """How many posts the rest of the day's budget pays for."""
        _, usd = self.meter.used(self.name, at.date())
        return int((self.budget - usd) / PRICE + 1e-9)

    def spent(self, at: datetime) -> bool:
        """Whether the day's budget does not pay for the smallest page."""
        return self.capped_on == at.date() or self.affordable(at) < FEWEST

    def due(self, at: datetime) -> bool:
        """Whether a query's turn has come, and it may be asked."""
        is_time = any(search.is_due(at, self.every) for search in self.searches)
        return is_time and self.monotonic() >= self.quiet_until and not self.spent(at)

    def fetch(self, at: datetime) -> Harvest:
        """Ask every query that is due, then count again. *Raises* `UnavailableSource`."""
        error: UnavailableSource | None = None
        for search in self.searches:
            if not search.is_due(at, self.every) or self.spent(at):
                continue
            try:
                self.look(search, at)
            except Failure as failed:
                error = error or failed
                if failed.is_general:
                    break
        self.forget(at)
        readings = tuple(r for symbol in self.symbols if (r := self.reading(symbol)))
        return brought(Harvest(readings), error)

    def look(self, search: Search, at: datetime) -> None:
        """One page, newest first. *Raises* `Failure`."""
        params = {
            "query": search.query,
            "max_results": str(min(MOST, self.affordable(at))),
            "tweet.fields": "created_at,author_id,entities",
            **search.since(at),
        }
        self.meter.use(self.name, at.date(), 1, 0.0)
        try:
            said = self.web.get(PATH, params)
        except Failure as failed:
            self.heed(failed, at)
            raise
        self.meter.use(self.name, at.date(), 0, PRICE * posts_read(said))
        found = self.web.understood(f"GET {PATH}", lambda: posts_in(said, self.symbols, at))
        search.asked = at
        if found:
            last = max(found, key=lambda post: int(post.id))
            search.newest, search.newest_at = last.id, last.at
        for post in found:
            for symbol in post.symbols:
                self.posts[post.id, symbol] = post

    def heed(self, failed: Failure, at: datetime) -> None:
        """Too fast, or out of credit: for the second, waiting does not help today."""
        said = failed.said if isinstance(failed.said, dict) else {}
        words = f"{said.get('type')} {said.get('title')} {said.get('detail')}".lower()
        credit = ("usage-capped", "usagecapexceeded", "usage cap", "credits")
        if failed.status == 402 or (failed.status == 429 and any(w in words for w in credit)):
            self.capped_on = at.date()
        elif failed.status == 429:
            self.quiet_until = self.monotonic() + silence(failed)

    def forget(self, at: datetime) -> None:
        """Drop what is too old, and what a clock that went back has not seen yet."""
        self.posts = {
            key: post for key, post in self.posts.items() if -MEMORY < at - post.at < MEMORY
        }

    def reading(self, symbol: str) -> Reading | None:
        """The mood about one symbol, as of its newest post; None when nobody spoke."""
        posts = [post for (_, named), post in self.posts.items() if named == symbol]
        if not posts:
            return None
        score, authors = mood([(post.author, post.score) for post in posts])
        at = max(post.at for post in posts)
        note = f"{len(posts)} posts of {authors} authors"
        values = {"score": score, "authors": float(authors)}
        reading = Reading(self.name, symbol, at, at + MEMORY, values, note)
        checked_values(reading)  # ours: a failure here is a bug, not the vendor's fault
        return reading


def silence(failed: Failure) -> float:
    """How long the vendor asks us to wait: its reset time against its own clock."""
    reset = count_of(failed.headers.get("x-rate-limit-reset"))
    try:
        now = parsedate_to_datetime(failed.headers.get("date", "")).timestamp()
    except ValueError:
        return SILENCE
    wait = reset - now
    return min(max(wait, 1.0), LONGEST_SILENCE) if reset else SILENCE


def posts_read(said: object) -> int:
    """What is paid for, whether we can read it or not."""
    data = said.get("data") if isinstance(said, dict) else None
    return len(data) if isinstance(data, list) else 0


def posts_in(said: object, symbols: Sequence[str], at: datetime) -> list[Post]:
    """The posts of a page. *Raises* `Unreadable` when it is not one, or no post can be read."""
    page = mapping(said, "the reply")
    meta = mapping(page.get("meta"), "meta")
    if "data" not in page:
        if meta.get("result_count") != 0:
            raise Unreadable(f"no data, but result_count {meta.get('result_count')!r:.40}")
        return []
    found: list[Post] = []
    flaws: list[str] = []
    data = rows(page["data"], "data")
    for item in data:
        try:
            found.append(post_of(mapping(item, "a post"), symbols, at))
        except Unreadable as error:
            flaws.append(str(error))  # others on the page are still what they are
    if flaws and len(flaws) == len(data):
        raise Unreadable(flaws[0])
    return found


def post_of(item: Any, symbols: Sequence[str], at: datetime) -> Post:
    """A post, and which symbols of ours it names. *Raises* `Unreadable`."""
    number, author = digits(item.get("id"), "id"), digits(item.get("author_id"), "author_id")
    seen = not_ahead(written(item.get("created_at"), "created_at"), at, "created_at")
    words = text(item.get("text"), "text")
    named = cashtags(item.get("entities"), words)
    ours = tuple(symbol for symbol in symbols if symbol in named)
    return Post(number, ours, author, lexicon.score(words), seen)


def cashtags(entities: object, words: str) -> set[str]:
    """The cashtags of a post: as X marked them, else as they stand in the text."""
    tags = entities.get("cashtags") if isinstance(entities, dict) else None
    if not isinstance(tags, list):
        return {tag.upper() for tag in CASHTAG.findall(lexicon.cleaned(words))}
    names = (tag.get("tag") for tag in tags if isinstance(tag, dict))
    return {name.upper() for name in names if isinstance(name, str)}


def digits(value: object, name: str) -> str:
    """An id: too large for a float, so it comes as a text. *Raises* `Unreadable`."""
    found = text(value, name)
    if not (found.isascii() and found.isdecimal() and len(found) <= 20):
        raise Unreadable(f"{name} must be digits, was {found!r:.60}")
    return found
