"""One command, and a signal goes the whole way: vendor, order, journal, Alpine, subscriber."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
from contextlib import closing

import pytest
from playwright.sync_api import sync_playwright
from websockets.sync.client import connect

from tests.ports import free_port
from tests.together import COMMAND, NAMES, together, waited

KEYS = {"APCA-API-KEY-ID": "sandbox", "APCA-API-SECRET-KEY": "sandbox"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with together(tmp_path_factory.mktemp("up")) as whole:
        waited(60, lambda: whole.get("argo", "/api/signals/latest"))
        yield whole


def rows(path, query):
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as file:
        return file.execute(query).fetchall()


def test_one_signal_is_followed_from_the_vendors_to_the_subscriber(whole):
    intents = whole.folder / "data/recorded/sandbox.sqlite"

    def ordered():
        """A signal that has an order; the newest may still wait for its open."""
        path = "/alpaca/v2/orders?status=all&nested=true&limit=500"
        orders = whole.get("sandbox", path, **KEYS)
        made = {signal["id"]: signal for signal in whole.get("argo", "/api/signals/latest")}
        ours = dict(rows(intents, "select id, body from intents"))
        for order in orders:
            signal = json.loads(ours[order["client_order_id"]]).get("signal") or {}
            if signal.get("id") in made:
                return made[signal["id"]], order
        return None

    made, order = waited(60, ordered)
    assert order["symbol"] == made["symbol"]
    assert {v["source"] for v in made["consensus"]["votes"]} >= {"massive", "alpha_vantage"}
    assert len(order["legs"]) == 2
    kept = rows(whole.folder / "data/recorded/alpine.sqlite", "select id from signals")
    assert (made["id"],) in kept
    _, _, token = whole.sign_in()
    url = whole.url("alpine").replace("http", "ws")
    with connect(f"{url}/ws/signals") as socket:
        socket.send(json.dumps({"token": token, "resume_from": 0}))
        assert json.loads(socket.recv(10))["type"] == "hello"
        told = [json.loads(socket.recv(10)) for _ in kept]
    assert made["id"] in {message["signal"]["id"] for message in told}


def test_alpine_away_for_a_while_loses_nothing_and_keeps_the_order(whole):
    alpine = whole.folder / "data/recorded/alpine.sqlite"
    argo = whole.folder / "data/recorded/sandbox.sqlite"
    before = rows(alpine, "select count(*) from feed")[0][0]
    found = subprocess.run(
        ["pgrep", "-f", f"{COMMAND} alpine"], capture_output=True, text=True, check=True
    )
    ours = [int(p) for p in found.stdout.split() if is_ours(int(p), whole.process.pid)]
    assert len(ours) == 1
    os.kill(ours[0], signal.SIGKILL)
    waited(60, lambda: "alpine is started again" in whole.said())
    # who may not write cannot read what a killed process left, before its owner has opened it
    waited(60, lambda: whole.get("alpine", "/health"))
    waited(90, lambda: rows(alpine, "select count(*) from feed")[0][0] > before + 2)
    taken = rows(alpine, "select n, hash from feed order by id")
    sent = rows(argo, "select n, hash from outbox order by n")
    assert taken == sent[: len(taken)]
    assert [n for n, _ in taken] == list(range(1, len(taken) + 1))


def is_ours(pid, parent):
    """Whether a process was started by this test's `up`."""
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rsplit(")", 1)[1].split()[1]) == parent


def test_a_busy_port_is_named_with_its_option(whole, tmp_path):
    ports = {name: free_port() for name in NAMES} | {"argo": whole.ports["argo"]}
    options = [w for name, port in ports.items() for w in (f"--{name}-port", str(port))]
    done = subprocess.run(
        [COMMAND, "up", *options], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert f"port {whole.ports['argo']}" in done.stderr
    assert "--argo-port" in done.stderr


def test_ctrl_c_stops_everything_and_a_second_run_goes_on(tmp_path):
    with together(tmp_path) as first:
        waited(60, lambda: first.get("argo", "/health")["head_seq"] > 2)
        signals = waited(60, lambda: first.get("argo", "/api/signals/latest"))
        first.process.send_signal(signal.SIGINT)
        assert first.process.wait(30) == 0
        left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True)
        assert not left.stdout
    with together(tmp_path) as second:
        again = waited(60, lambda: second.get("argo", "/api/signals/latest"))
        assert {s["id"] for s in signals} <= {s["id"] for s in again}
        _, password, _ = second.sign_in()
        assert password in second.said()


CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def report(whole):
    """One rendered report, as the reviewer finds it."""
    words = ["report", "backtest", "--symbols", "AAPL", "--from", "2012-06-01"]
    words += ["--out", "data/reports/backtest"]
    done = subprocess.run(
        [COMMAND, *words], cwd=whole.folder, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    return whole.folder / "data/reports/backtest"


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")
def test_a_subscriber_signs_in_sees_the_signal_and_a_reviewer_the_report(whole, report):
    email, password, _ = whole.sign_in()
    symbols = {s["symbol"] for s in whole.get("argo", "/api/signals/latest")}
    with sync_playwright() as player:
        options = {"executable_path": CHROMIUM, "args": ["--no-sandbox", "--disable-gpu"]}
        browser = player.chromium.launch(**options)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        outside: list[str] = []
        page.on("request", lambda r: outside.append(r.url) if "127.0.0.1" not in r.url else None)
        page.goto(whole.url("dashboard"))
        page.get_by_label("E-mail").first.fill(email)
        page.locator("input[type=password]").first.fill(password)
        page.get_by_role("button", name="Sign in").first.click()
        # on a busy machine one of the four may have been late for that moment
        page.get_by_text(re.compile(r"^Votes [1-4] of 4 sources spoke$")).first.wait_for(
            timeout=60_000
        )
        seen = page.locator("body").inner_text()
        assert "SANDBOX" in seen
        assert any(f"\n{symbol}\n" in seen for symbol in symbols)
        page.get_by_role("link", name="Reports").first.click()
        page.locator("iframe").first.wait_for(timeout=60_000)
        frame = page.frame_locator("iframe").frame_locator("iframe")
        frame.get_by_text("Before you believe it").first.wait_for(timeout=60_000)
        browser.close()
    assert not [url for url in outside if not url.startswith(("data:", "blob:"))]
