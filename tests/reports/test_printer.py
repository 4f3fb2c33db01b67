"""A page is printed by a browser that asks nobody, or the run does not begin."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from argo_alpine.domain import Invalid, Unavailable
from services.common import printer
from services.common.page import page
from services.common.reports import render
from tests.reports.test_reports import a_template

HERE = any(shutil.which(name) for name in printer.BROWSERS)
needs_chromium = pytest.mark.skipif(not HERE, reason="no chromium on this machine")


def a_browser(folder: Path, script: str) -> str:
    """A program that is found before any real browser."""
    program = folder / "chromium"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def test_without_a_browser_nothing_is_run(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = a_template(tmp_path / "templates")
    ticks = []
    with pytest.raises(Unavailable, match="apt-get install chromium"):
        render("small", {}, tmp_path / "out", lambda *t: ticks.append(t), folder, pdf=True)
    assert not ticks and not (tmp_path / "out").exists()


def test_a_browser_that_hangs_or_fails_is_named(tmp_path):
    slow = a_browser(tmp_path, "exec sleep 60")
    with pytest.raises(Unavailable, match=r"did not print .* in 0\.2 s"):
        printer.printed(tmp_path / "a.html", tmp_path / "a.pdf", slow, seconds=0.2)
    broken = a_browser(tmp_path, "echo no display >&2; exit 3")
    with pytest.raises(Invalid, match=r"exit code 3\): no display"):
        printer.printed(tmp_path / "a.html", tmp_path / "a.pdf", broken)
    lying = a_browser(tmp_path, "exit 0")
    with pytest.raises(Invalid, match="made no PDF"):
        printer.printed(tmp_path / "a.html", tmp_path / "a.pdf", lying)


@pytest.mark.parametrize("user", [0, 1000])
def test_its_own_sandbox_is_off_only_for_root_and_its_profile_is_fresh(tmp_path, monkeypatch, user):
    monkeypatch.setattr(os, "geteuid", lambda: user)
    words = tmp_path / "words"
    spy = a_browser(tmp_path, f'printf "%s\\n" "$@" > {words}; printf %%PDF- > {tmp_path}/a.pdf')
    printer.printed(tmp_path / "a.html", tmp_path / "a.pdf", spy)
    said = words.read_text().splitlines()
    assert ("--no-sandbox" in said) == (user == 0)
    assert "--host-resolver-rules=MAP * ~NOTFOUND" in said
    (profile,) = [word for word in said if word.startswith("--user-data-dir=")]
    assert not Path(profile.partition("=")[2]).exists()  # it is gone with the printing


@needs_chromium
def test_a_page_becomes_a_pdf(tmp_path):
    cells = [{"cell_type": "markdown", "source": "# A page\n\nIt says something."}]
    (tmp_path / "a.html").write_text(page({"cells": cells}, {"Code": "here"}))
    made = printer.printed(tmp_path / "a.html", tmp_path / "a.pdf", printer.browser())
    assert made.read_bytes().startswith(b"%PDF-")
    assert len(made.read_bytes()) > 5_000


@needs_chromium
def test_a_report_lists_its_pdf_and_a_later_one_without_replaces_it(tmp_path):
    folder = a_template(tmp_path / "templates")
    out = tmp_path / "out"
    made = render("small", {}, out, templates=folder, pdf=True)
    assert "report.pdf" in made.manifest["files"] and (out / "report.pdf").is_file()
    made = render("small", {}, out, templates=folder)
    assert "report.pdf" not in made.manifest["files"] and not (out / "report.pdf").exists()
