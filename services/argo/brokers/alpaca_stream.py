"""Alpaca's trade updates, heard by a thread of their own."""

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import Callable
from typing import Any

from alpaca.trading.stream import TradingStream

from argo_alpine.domain import UnavailableBroker
from services.argo.brokers import alpaca_words as words
from services.argo.ports import BrokerOrder

log = logging.getLogger(__name__)

# websockets writes whole frames at DEBUG, and the first frame carries the secret
frames = logging.getLogger(f"{__name__}.frames")
frames.setLevel(logging.INFO)

HELLO = 4.0  # seconds for each word of the greeting
SOCKET = {
    "ping_interval": 10,
    "ping_timeout": 10,  # a dead line is noticed within 20 s
    "open_timeout": 5,
    "close_timeout": 0.2,  # the library waits up to five times this
    "max_queue": 1024,
    "logger": frames,
}
CORRECTIONS = ("trade_bust", "trade_correct", "restated")  # they change what was already told


class Updates(TradingStream):
    """The vendor's stream, which also says when something may have been missed."""

    def __init__(
        self,
        key: str,
        secret: str,
        url: str,
        on_order: Callable[[BrokerOrder], None],
        on_gap: Callable[[], None],
    ) -> None:
        super().__init__(key, secret, raw_data=True, url_override=url, websocket_params=SOCKET)
        self.on_order, self.on_gap = on_order, on_gap
        self.ending = threading.Event()
        self.wake: Callable[[], object] = lambda: None
        self.thread = threading.Thread(target=self.serve, name="alpaca-updates", daemon=True)
        self.subscribe_trade_updates(self.heard)

    def start(self) -> Callable[[], None]:
        """Begin to listen; the answer ends it."""
        self.thread.start()
        return self.end

    def end(self) -> None:
        """Close the socket and wait for the thread, at most 2 s."""
        self.ending.set()
        self.wake()
        if threading.current_thread() is not self.thread:
            self.thread.join(2.0)
            if self.thread.is_alive():
                log.warning("the thread of Alpaca's stream did not end within 2 s")

    def serve(self) -> None:
        """What the thread does."""
        asyncio.run(self.until_ended())

    async def until_ended(self) -> None:
        """Listen, over any number of connections, until told to end."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: ended already
                loop.call_soon_threadsafe(ended.set)

        self.wake = wake
        if self.ending.is_set():
            return
        listening = asyncio.create_task(self._run_forever())  # type: ignore[no-untyped-call]
        ending = asyncio.create_task(ended.wait())
        await asyncio.wait({listening, ending}, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        while not listening.done():  # Python 3.11 may lose a cancellation inside `wait_for`
            listening.cancel()
            await asyncio.wait({listening}, timeout=0.1)
        if self._ws is not None:
            await asyncio.wait({asyncio.create_task(self.close())}, timeout=1.0)

    async def _auth(self) -> None:
        await asyncio.wait_for(super()._auth(), HELLO)  # type: ignore[no-untyped-call]

    async def _start_ws(self) -> None:
        """Connect, and report the gap only once the server listens: nothing is replayed."""
        await super()._start_ws()  # type: ignore[no-untyped-call]
        await asyncio.wait_for(self.acknowledged(), HELLO)
        self.reconnected()

    async def acknowledged(self) -> None:
        """Wait until the server says what it will send. *Raises* `UnavailableBroker`."""
        while True:
            said = await self.next_message()
            if said.get("stream") == "authorization":
                raise UnavailableBroker("Alpaca's stream does not let us listen: check the key")
            if said.get("stream") == "listening":
                data = said.get("data")
                if isinstance(data, dict) and "trade_updates" in data.get("streams", ()):
                    return
                raise UnavailableBroker("Alpaca's stream knows no trade_updates: check stream_url")
            await self._dispatch(said)

    async def _consume(self) -> None:
        while True:
            said = await self.next_message()
            self._data_received = self._data_received or said.get("stream") == "trade_updates"
            await self._dispatch(said)

    async def next_message(self) -> dict[str, Any]:
        """The next frame that is a JSON object; one that is not is a gap."""
        socket: Any = self._ws
        while True:
            frame = await socket.recv()
            try:
                said = json.loads(frame)
            except (ValueError, RecursionError):
                said = None
            if isinstance(said, dict):
                return said
            log.warning("a frame of Alpaca's stream, %d long, cannot be read", len(frame))
            self.reconnected()

    async def heard(self, said: Any) -> None:
        """Pass one update on; what cannot be read or handled is a gap."""
        try:
            data = words.mapping(said.get("data"), "a trade update")
            self.on_order(words.order(data.get("order")))
        except UnavailableBroker as error:
            why = words.scrubbed(str(error), (self._api_key, self._secret_key))
            log.warning("an update of Alpaca's stream is lost: %s", why)
            self.reconnected()
        except Exception:  # the engine's own fault must not end the stream
            log.exception("an update of Alpaca's stream was not handled")
            self.reconnected()
        else:
            if data.get("event") in CORRECTIONS:
                self.reconnected()

    def reconnected(self) -> None:
        """Tell the engine to ask the broker what it may have missed."""
        try:
            self.on_gap()
        except Exception:
            log.exception("a gap in Alpaca's stream was not handled")
