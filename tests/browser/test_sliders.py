"""Every slider of every notebook in a real browser: it moves its picture, in Voila, JupyterLab and Notebook 7."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import nbformat
import pytest

from posebook.notebooks import demo
from posebook.notebooks.headless import use_this_python

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright, which drives the browser, is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

# A box of sliders and their picture; in JupyterLab the fallback picture has no such class.
BOXES = ".widget-vbox:has(> img.widget-image)"
SECONDS = 180  # for the slowest page on a busy machine
REDRAW = 5  # the same for one picture
STEPS = 10  # of a training that a slider waits for


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@contextmanager
def running(start: Callable[[int], subprocess.Popen]) -> Iterator[str]:
    """A server's address; it is stopped afterwards, with its kernels."""
    port = free_port()
    server = start(port)
    try:
        for _ in range(4 * SECONDS):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, "the server ended"
            time.sleep(0.25)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


@contextmanager
def browser() -> Iterator:
    with sync_api.sync_playwright() as play:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = chromium.new_page(viewport={"width": 1300, "height": 1000})
        page.set_default_timeout(1000 * SECONDS)
        sync_api.expect.set_options(timeout=1000 * SECONDS)
        # Nothing is to be fetched from elsewhere: a page works without a network.
        page.route(lambda url: "127.0.0.1" not in url, lambda route: route.abort())
        yield page
        chromium.close()


def in_voila(folder: Path, name: str, port: int) -> subprocess.Popen:
    return demo.serve([name], folder, port, browser=False, steps=STEPS)


def in_jupyter(folder: Path, name: str, port: int) -> subprocess.Popen:
    """JupyterLab's server, which has the pages of Notebook 7 too."""
    use_this_python()
    nbformat.write(demo.build(name, steps=STEPS), folder / f"{name}.ipynb")
    # Else cells out of sight are not on the page.
    settings = folder / "settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"windowingMode": "none"}))
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"]
    command += ["--IdentityProvider.token=", f"--ServerApp.root_dir={folder}", "--ServerApp.port_retries=0"]
    # Settings and open tabs of its own, not those of whoever tests.
    own = {"JUPYTERLAB_SETTINGS_DIR": f"{folder}/settings", "JUPYTERLAB_WORKSPACES_DIR": f"{folder}/workspaces"}
    return subprocess.Popen(command, env=os.environ | own)


def open_voila(page, address: str, name: str) -> None:
    page.goto(address)


def open_jupyterlab(page, address: str, name: str) -> None:
    page.goto(f"{address}/lab/tree/{name}.ipynb")
    run_all_cells(page, address)


def open_notebook(page, address: str, name: str) -> None:
    page.goto(f"{address}/notebooks/{name}.ipynb")
    run_all_cells(page, address)


def run_all_cells(page, address: str) -> None:
    # Before the page has its kernel, Run opens a dialogue, and Notebook 7 already says that the kernel is idle.
    for _ in range(4 * SECONDS):
        answer = page.request.get(f"{address}/api/kernels")
        kernels = answer.json() if answer.ok else []
        if any(kernel["execution_state"] == "idle" and kernel["connections"] for kernel in kernels):
            break
        page.wait_for_timeout(250)
    else:
        pytest.fail("the page got no kernel")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def move(page, control, far: bool = False) -> None:
    """One step of a slider, or as far as it goes; the next entry of a menu, or a tick."""
    kind = control.evaluate("c => c.tagName")
    if kind == "SELECT":
        control.select_option(index=(control.evaluate("c => c.selectedIndex") + 1) % control.locator("option").count())
    elif kind == "INPUT":
        control.click()
    else:
        at, low, high = (float(control.get_attribute(f"aria-value{which}")) for which in ("now", "min", "max"))
        control.focus()
        keys = ("Home", "End") if far else ("ArrowLeft", "ArrowRight")
        page.keyboard.press(keys[at < high or low == high])


def changes(page, box, control, far: bool = False) -> float | None:
    """Move a control, and give the seconds until there was another picture, or a sentence; None if nothing changed."""
    image = box.locator("> img.widget-image").element_handle()
    sentence = box.locator("> .widget-html .widget-html-content").element_handle()
    before, start = [image.get_attribute("src"), sentence.inner_text()], time.perf_counter()
    move(page, control, far)
    changed = """([image, sentence, before]) => sentence.innerText != before[1]
        || image.getAttribute('src') != before[0] && image.complete && image.naturalWidth > 0"""
    try:
        page.wait_for_function(changed, arg=[image, sentence, before], timeout=1000 * REDRAW)
    except sync_api.TimeoutError:
        return None
    return time.perf_counter() - start


PLACES = {"voila": (in_voila, open_voila), "jupyterlab": (in_jupyter, open_jupyterlab)}
PAGES = [pytest.param(*PLACES[place], name, id=f"{place}-{name}") for place in PLACES for name in demo.pages()]
# Notebook 7 is made of JupyterLab's parts: one page tells whether they are there.
PAGES.append(pytest.param(in_jupyter, open_notebook, "start_here", id="notebook-start_here"))


@pytest.mark.parametrize(("serve", "open_page", "name"), PAGES)
def test_every_slider_moves_its_picture(serve, open_page, name, tmp_path, record_property):
    cells = [cell.source for cell in demo.build(name).cells if cell.cell_type == "code"]
    waiting = sum(source.startswith("on_click") for source in cells)
    sliders = waiting + sum(source.startswith("play") for source in cells)
    shown = "([boxes, number]) => document.querySelectorAll(boxes).length == number"
    waits = []
    with running(lambda port: serve(tmp_path, name, port)) as address, browser() as page:
        start = time.perf_counter()
        open_page(page, address, name)
        page.locator(BOXES).first.wait_for()
        record_property("first_picture_s", time.perf_counter() - start)
        page.wait_for_function(shown, arg=[BOXES, sliders - waiting])
        buttons = page.get_by_role("button", name="Train a network")
        for left in reversed(range(waiting)):
            buttons.first.click()
            sync_api.expect(buttons).to_have_count(left)  # sliders, or a sentence until they are there, take its place
        page.wait_for_function(shown, arg=[BOXES, sliders])
        for number in range(sliders):
            box = page.locator(BOXES).nth(number)
            picture = box.locator("> img.widget-image")
            controls = box.locator(".noUi-handle, select, input[type=checkbox]")
            assert controls.count()
            for control in controls.all():
                label = control.evaluate("c => c.closest('.widget-inline-hbox, .widget-checkbox').innerText")
                height = picture.bounding_box()["height"]
                wait = changes(page, box, control) or changes(page, box, control, far=True)
                # What a slider sets may matter to some entries of the menu alone.
                for _ in range(box.locator("select >> nth=0 >> option").count()):
                    if wait is None:
                        changes(page, box, box.locator("select").first)
                        wait = changes(page, box, control, far=True)
                assert wait is not None, f"{label} moves nothing"
                sentence = box.locator("> .widget-html .widget-html-content").inner_text()
                assert not re.match(r"\w+Error: ", sentence), f"{label}: {sentence}"
                waits.append(wait)
                assert picture.bounding_box()["height"] == pytest.approx(height, abs=1), label
    record_property("latency_s", median(waits))
    record_property("controls", len(waits))
