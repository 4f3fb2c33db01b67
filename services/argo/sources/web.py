"""One careful HTTP client for all sources: deadlines, a size limit, and the key stays inside."""

import json
import logging
import re
import socket
import threading
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from argo_alpine.domain import Invalid, InvalidSettings, UnavailableSource
from services.argo.ports import Harvest
from services.argo.sources.lexicon import cleaned

T = TypeVar("T")
LARGEST = 4 * 1024 * 1024  # bytes of a body, unpacked
LONGEST_WORDS = 400  # characters of an error

# it writes whole URLs at level DEBUG, and Alpha Vantage's carry the key
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)


class Failure(UnavailableSource):
    """A vendor that did not answer usefully, with what it said."""

    def __init__(
        self,
        message: str,
        status: int = 0,  # 0: no answer at all
        said: object = None,  # the body as JSON; never to be logged: it may echo the key
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.said, self.headers = status, said, headers or {}

    @property
    def is_general(self) -> bool:
        """Whether the next question to this vendor would fare no better."""
        return self.status in (0, 401, 402, 429) or self.status >= 500


class Partly(UnavailableSource):
    """A fetch that failed after it had brought something."""

    def __init__(self, error: UnavailableSource, harvest: Harvest) -> None:
        super().__init__(str(error))
        self.harvest = harvest


def brought(harvest: Harvest, error: UnavailableSource | None) -> Harvest:
    """What a fetch returns. *Raises* the error, with the harvest if there is one."""
    if error is None:
        return harvest
    if harvest == Harvest():
        raise error
    raise Partly(error, harvest)


class Punctual(HTTPConnection):
    """A connection on which even the head of a reply has a deadline."""

    seconds = 30.0  # no source waits longer for a head

    def getresponse(self) -> Any:
        """The reply. A head that drips keeps every single wait short, so a timer cuts the line."""
        late = threading.Event()
        timer = threading.Timer(self.seconds, cut, (self.sock, late))
        timer.daemon = True
        timer.start()
        try:
            reply = super().getresponse()
        finally:
            timer.cancel()
        if late.is_set():  # half a head may look like a whole one
            reply.close()
            raise TimeoutError
        return reply


class PunctualTLS(Punctual, HTTPSConnection):
    """The same over TLS."""


def cut(line: socket.socket | None, late: threading.Event) -> None:
    """End a connection that another thread reads from."""
    late.set()
    try:
        if line is not None:
            socket.socket.shutdown(line, socket.SHUT_RDWR)
    except OSError:
        return  # it had ended by itself


class Pool(HTTPConnectionPool):
    """Connections with a deadline."""

    ConnectionCls = Punctual


class PoolTLS(HTTPSConnectionPool):
    """The same over TLS."""

    ConnectionCls = PunctualTLS


class Adapter(HTTPAdapter):
    """Connections with a deadline, and one attempt a call."""

    def init_poolmanager(self, *options: Any, **more: Any) -> None:
        """As usual, but for the kind of pool."""
        super().init_poolmanager(*options, **more)
        self.poolmanager.pool_classes_by_scheme = {"http": Pool, "https": PoolTLS}


class TooMuch(Exception):  # never leaves this file
    """A body that is too long or too slow."""


class Web:
    """One vendor's REST interface; belongs to one thread."""

    def __init__(
        self,
        vendor: str,
        base_url: str,
        key: str,
        *,
        bearer: bool = True,  # the key goes into the Authorization header, else `sign` places it
        timeouts: tuple[float, float] = (2.0, 5.0),  # seconds to connect, to read
        whole: float = 10.0,  # seconds for a body
        largest: int = LARGEST,
        monotonic: Callable[[], float] = monotonic,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise InvalidSettings(f"{vendor}: base_url must be an http(s) address, was {base_url}")
        if not key or not (key.isascii() and key.isprintable()) or key != key.strip():
            raise InvalidSettings(f"{vendor}: the key is empty or contains blanks: set it again")
        self.vendor, self.base, self.key = vendor, base_url.rstrip("/"), key
        self.timeouts, self.whole, self.largest = timeouts, whole, largest
        self.monotonic = monotonic
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy, no .netrc: nobody else sees the key
        for scheme in ("https://", "http://"):
            self.session.mount(scheme, Adapter(max_retries=0))
        if bearer:
            self.session.headers["Authorization"] = f"Bearer {key}"
        self.session.headers["Accept"] = "application/json, application/problem+json"

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """The JSON of a reply. *Raises* `Failure`."""
        return self.ask("GET", path, params, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON of a reply. *Raises* `Failure`."""
        return self.ask("POST", path, None, body)

    def inside(self, url: object) -> str:
        """The path of an address a vendor gave, if it leads back to the vendor. *Raises*."""
        ours = urlsplit(self.base)
        try:
            theirs = urlsplit(url) if isinstance(url, str) else None
            same = theirs and (theirs.scheme, theirs.netloc) == (ours.scheme, ours.netloc)
        except ValueError:
            same = False
        if not same or not str(url).startswith(self.base + "/") or ".." in str(url):
            raise self.failure("the next page", f"its address leads elsewhere: {str(url)[:120]}")
        return str(url)[len(self.base) :]

    def understood(self, asked: str, read: Callable[[], T]) -> T:
        """What `read` makes of a reply. *Raises* `Failure` when it cannot."""
        try:
            return read()
        except (ValueError, Invalid) as error:
            why = str(error)
        raise self.failure(asked, why, status=200)  # outside, so that no raw text hangs on to it

    def failure(
        self,
        asked: str,
        why: str,
        status: int = 0,
        said: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Failure:
        """An error that names vendor, question and reason, and never the key."""
        words = self.redacted(cleaned(f"{self.vendor}: {asked}: {why}", 4000))
        return Failure(words[:LONGEST_WORDS], status, said, headers)

    def redacted(self, words: str) -> str:
        """Words without the key, however it is spelt, also where it is cut off at its end."""
        for form in {self.key, quote(self.key, safe=""), quote_plus(self.key)}:
            some = re.escape(form[:8]) + r"[^\s'\"]*" if len(form) >= 12 else re.escape(form)
            words = re.sub(some, "[key]", words, flags=re.IGNORECASE)
        return words

    def ask(
        self, method: str, path: str, params: Mapping[str, str] | None, body: dict[str, Any] | None
    ) -> Any:
        """One attempt. *Raises* `Failure`."""
        asked = f"{method} {path.split('?')[0]}"
        status, headers, raw, why = self.sent(method, path, params, body)
        if why:
            raise self.failure(asked, why, status, None, headers)
        said, flaw = decoded(raw)
        if not 200 <= status < 300:
            words = wording(said)
            raise self.failure(asked, f"HTTP {status} {words}".strip(), status, said, headers)
        if flaw:
            start = raw[:80].decode("utf-8", "replace")
            raise self.failure(asked, f"{flaw}, begins {start!r}", status)
        return said

    def sent(
        self, method: str, path: str, params: Mapping[str, str] | None, body: dict[str, Any] | None
    ) -> tuple[int, Mapping[str, str], bytes, str]:  # status, headers, body, what went wrong
        """The exchange itself; words of the library stay here, for they contain the whole URL."""
        url = self.base + path
        try:
            with self.session.request(
                method,
                url,
                params=params,
                json=body,
                timeout=self.timeouts,
                allow_redirects=False,
                stream=True,
            ) as reply:
                headers = {name.lower(): value for name, value in reply.headers.items()}
                return reply.status_code, headers, self.read(reply), ""
        except requests.ConnectTimeout:
            why = f"no connection within {self.timeouts[0]:g} s"
        except requests.Timeout:
            why = f"no answer within {self.timeouts[1]:g} s"
        except TooMuch as error:
            why = str(error)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            why = f"no answer ({type(error).__name__})"
        return 0, {}, b"", why

    def read(self, reply: requests.Response) -> bytes:
        """A body, unpacked. *Raises* `TooMuch`."""
        begun, body = self.monotonic(), bytearray()
        while chunk := reply.raw.read1(65_536, decode_content=True):
            body += chunk
            if len(body) > self.largest:
                raise TooMuch(f"the body is longer than {self.largest} bytes")
            if self.monotonic() - begun > self.whole:
                raise TooMuch(f"the body took longer than {self.whole:g} s")
        return bytes(body)


def decoded(raw: bytes) -> tuple[object, str]:
    """A body as JSON, or why it is none."""
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=once, parse_constant=refused), ""
    except (ValueError, RecursionError) as error:
        kind = "is nested too deeply" if isinstance(error, RecursionError) else "is not JSON"
        return None, f"the body {kind}"


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are unique: of two values nobody knows which is meant."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return found


def refused(constant: str) -> Any:
    """NaN and Infinity are not JSON."""
    raise ValueError(f"{constant} is not JSON")


def wording(said: object) -> str:
    """What a vendor says of an error, wherever it says it; foreign text, shortened."""
    if not isinstance(said, dict):
        return ""
    inner = said.get("error")
    if isinstance(inner, dict):
        return wording(inner)
    names = ("error", "message", "title", "detail", "type")
    words = [said[name] for name in names if isinstance(said.get(name), str)]
    return cleaned(": ".join(dict.fromkeys(words)), 4000)


def count_of(value: object) -> int:
    """A whole number in a header; 0 when it is none."""
    words = str(value)
    return int(words) if words.isascii() and words.isdecimal() and len(words) < 16 else 0
