"""What happens, one JSON object a line, without a key and without a line that is not ours."""

import json
import logging
import os
import re
import stat
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO, TypeAlias, cast
from urllib.parse import quote, quote_plus

import structlog
from structlog.stdlib import BoundLogger, ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from argo_alpine.domain import InvalidSettings, UnavailableData

FILE_BYTES, FILES = 5_000_000, 5
SHORTEST = 6  # characters; shorter ones would black out ordinary words
DEEPEST = 8  # objects in objects
FIRST = ("recorded_at", "level", "service", "logger", "event")  # of a line
LEVELS = ("debug", "info", "warning", "error", "critical")
TALKERS = ("uvicorn", "uvicorn.access", "uvicorn.error", "alpaca")  # bring handlers of their own

NAMES = (
    r"api[_-]?key|apca-api-(?:key-id|secret-key)|(?:access|bearer|auth|refresh)[_-]?token|token"
    r"|secret(?:[_-]?key)?|password|passwd|authorization"
)
NAMED = re.compile(rf"(?:.*[^a-z0-9])?(?:{NAMES})", re.IGNORECASE)
SHAPES = (
    (re.compile(r"(?i)\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{6,}"), r"\1\2***"),
    (
        re.compile(rf"""(?i)(?<![a-z0-9])({NAMES})(\\?["']?\s*[=:]\s*\\?["']?)[^\s"'&,;}}\]\\]+"""),
        r"\1\2***",
    ),
    (re.compile(r"(?i)([?&]key=)[^\s\"'&]+"), r"\1***"),
    (re.compile(r"(?i)(api key as )\S+"), r"\1***"),  # Alpha Vantage says it back
)
# what could begin a line, move a cursor, turn text around, or not be written at all
UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)

Redactor: TypeAlias = Callable[[str], str]


# -- what a value becomes --------------------------------------------------------------------------


def encoded(text: str) -> str:
    """A text in which every control character is spelt out."""
    return UNSAFE.sub(lambda m: m[0].encode("unicode_escape").decode(), text)


def redactor(secrets: Sequence[str]) -> Redactor:
    """A function that blackens secrets, however they are quoted, and whatever looks like one."""
    long = [s for s in secrets if len(s) >= SHORTEST]
    spelt = {f(s) for s in long for f in (str, quote, quote_plus, encoded, in_json, in_repr)}
    spelt |= {quote(s, safe="") for s in long}
    known = re.compile("|".join(map(re.escape, sorted(spelt, key=len, reverse=True))) or r"(?!)")

    def redact(text: str) -> str:
        text = known.sub("***", text)
        for shape, instead in SHAPES:
            text = shape.sub(instead, text)
        return text

    return redact


def in_json(text: str) -> str:
    """A text as JSON quotes it."""
    return json.dumps(text)[1:-1]


def in_repr(text: str) -> str:
    """A text as Python quotes it."""
    return repr(text)[1:-1]


def spoken(value: object) -> str:
    """A value as text, whatever it is."""
    try:
        return value if isinstance(value, str) else str(value)
    except Exception as error:  # a foreign __str__ must not cost the line
        return f"<{type(value).__name__}: {type(error).__name__}>"


def plain(value: object, clean: Redactor, depth: int = 0) -> Any:
    """A value as JSON has it, every text in it cleaned."""
    if value is None or isinstance(value, bool):
        return value
    if depth < DEEPEST and isinstance(value, Mapping):
        pairs = ((spoken(k), v) for k, v in value.items())
        return {
            clean(k): "***" if v and NAMED.fullmatch(k) else plain(v, clean, depth + 1)
            for k, v in pairs
        }
    if depth < DEEPEST and isinstance(value, list | tuple | set | frozenset):
        return [plain(v, clean, depth + 1) for v in value]
    said = spoken(value)
    safe = clean(said)
    is_number = type(value) in (int, float) and said not in ("nan", "inf", "-inf")
    return value if is_number and safe == said else safe


# -- the processors --------------------------------------------------------------------------------


def unfolded(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """An exception as the lines of its traceback."""
    error = event.pop("exc_info", None)
    if isinstance(error, tuple):
        error = error[1]
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        lines = "".join(traceback.format_exception(error)).splitlines()
        event["exception"] = [line for line in lines if line.strip()]
    return event


class Cleaner:
    """The last processor: after it, nothing is added."""

    def __init__(self, service: str, redact: Redactor) -> None:
        self.service, self.redact = service, redact

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        """An event of plain values, in the order they are read."""
        event["service"] = self.service
        if event.get("level") not in LEVELS:  # a library's own, such as trace
            event["level"] = "info"
        ordered = {name: event.pop(name) for name in FIRST if name in event} | dict(event)
        return cast(EventDict, plain(ordered, lambda text: self.redact(encoded(self.redact(text)))))


def as_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    """One line for machines."""
    return json.dumps(event, allow_nan=False)


def as_line(_: WrappedLogger, __: str, event: EventDict) -> str:
    """One short line for people."""
    at, level, _service, name, said = (event.pop(key, "") for key in FIRST)
    trace = event.pop("exception", None)
    rest = [f"{key}={value}" for key, value in event.items()]
    rest += [f"({trace[-1]})"] if trace else []
    return " ".join([str(at)[11:19], f"{level:<8}", f"{name}:", str(said), *rest])


CHAIN: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="recorded_at"),
)


# -- the handlers ----------------------------------------------------------------------------------


class Careful(logging.Handler):
    """A handler that says that a line was lost, but never what was in it."""

    def handleError(self, record: logging.LogRecord) -> None:
        """The library's own would print the arguments, keys included."""
        kind = sys.exc_info()[0]
        print(f"a log line was lost: {kind.__name__ if kind else 'unknown'}", file=sys.stderr)


class PrivateFile(Careful, RotatingFileHandler):
    """A rotating file that only its owner may read."""

    def _open(self) -> TextIOWrapper:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        handle = os.open(self.baseFilename, flags, 0o600)
        os.fchmod(handle, 0o600)  # it may have been there before
        return open(handle, "a", encoding="utf-8")


class Screen(Careful, logging.StreamHandler[TextIO]):
    """The terminal, or what stands for it at the moment."""


OURS = (PrivateFile, Screen)


def private(folder: Path) -> None:
    """Make a folder that is its owner's alone. *Raises* `InvalidSettings` for a shared one."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.stat()
    if found.st_uid != os.geteuid() or found.st_mode & stat.S_ISVTX:
        raise InvalidSettings(f"{folder} is shared with others: name a folder of your own for logs")
    folder.chmod(0o700)


def configure(
    folder: Path,
    service: str,  # also the name of the file: one process, one file
    secrets: Sequence[str],
    level: str = "info",
) -> None:
    """Send everything that is logged to a file and, shorter, to stderr."""
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,31}", service):
        raise InvalidSettings(f"no file can be named for service {service!r}: write argo")
    if level.lower() not in LEVELS:
        raise InvalidSettings(f"log level {level!r} is unknown: write one of {', '.join(LEVELS)}")
    private(folder)
    release()
    prepare()
    file = PrivateFile(folder / f"{service}.jsonl", maxBytes=FILE_BYTES, backupCount=FILES - 1)
    clean = Cleaner(service, redactor(secrets))
    root = logging.getLogger()
    for handler, render in ((file, as_json), (Screen(), as_line)):
        handler.setFormatter(formatter(clean, render))
        root.addHandler(handler)
    root.setLevel(level.upper())
    for name in TALKERS:
        talker = logging.getLogger(name)
        talker.handlers.clear()
        talker.propagate = True


def formatter(clean: Processor, render: Processor) -> ProcessorFormatter:
    """The same way for our own lines and those of libraries."""
    processors = [ProcessorFormatter.remove_processors_meta, unfolded, clean, render]
    return ProcessorFormatter(foreign_pre_chain=CHAIN, processors=processors)


def prepare() -> None:
    """Hand what is logged here to the standard library."""
    structlog.configure(
        processors=[*CHAIN, ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=BoundLogger,
        cache_logger_on_first_use=False,
    )


def release() -> None:
    """Let go of the file."""
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, OURS)]:
        root.removeHandler(handler)
        handler.close()


def logger(name: str) -> BoundLogger:
    """A logger: `logger("engine").info("submitted", order=order.id)`."""
    if not structlog.is_configured():
        prepare()  # the library's own choice would be stdout
    return cast(BoundLogger, structlog.get_logger(name))


def bound(**values: object) -> AbstractContextManager[None]:
    """Put values on every line of a block: `with bound(signal=signal.id):`."""
    return cast(AbstractContextManager[None], structlog.contextvars.bound_contextvars(**values))


# -- reading ---------------------------------------------------------------------------------------


def read(
    folder: Path,
    *,
    lines: int,  # the last so many, oldest first
    level: str | None = None,  # this one and worse
    text: str | None = None,  # anywhere in the line, in any case
    signal: str | None = None,  # the beginning of an id
) -> list[dict[str, Any]]:
    """Lines of every service, by time. *Raises* `UnavailableData` when there are no logs."""
    if level is not None and level.lower() not in LEVELS:
        raise InvalidSettings(f"log level {level!r} is unknown: write one of {', '.join(LEVELS)}")
    if not folder.is_dir():
        raise UnavailableData(f"no logs in {folder}: start a service first, or name its folder")
    least = LEVELS.index(level.lower()) if level else 0
    found = [
        entry
        for line, entry in entries(folder)
        if LEVELS.index(entry["level"]) >= least
        and (text is None or text.lower() in line.lower())
        and (signal is None or str(entry.get("signal", "")).startswith(signal))
    ]
    found.sort(key=lambda entry: str(entry["recorded_at"]))
    return found[-lines:] if lines > 0 else []


def entries(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every line, oldest file first; one that a crash cut short says so."""
    for path in sorted(folder.glob("*.jsonl*"), key=age, reverse=True):
        at = ""
        with path.open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                entry = parsed(line) or damaged(path, number, at)
                at = str(entry["recorded_at"])
                yield line, entry


def age(path: Path) -> int:
    """How often a file was rotated: argo.jsonl.3 is 3."""
    return int(path.suffix[1:]) if path.suffix[1:].isdigit() else 0


def parsed(line: str) -> dict[str, Any] | None:
    """A line as we wrote it; None for any other."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_ours = isinstance(entry, dict) and {"recorded_at", "level"} <= entry.keys()
    return entry if is_ours and entry["level"] in LEVELS else None


def damaged(path: Path, number: int, at: str) -> dict[str, Any]:
    """What stands for a line that cannot be read."""
    place = {"file": path.name, "line": number}
    return {"recorded_at": at, "level": "error", "event": "unreadable line", **place}
