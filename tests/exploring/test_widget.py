"""The explorer in a notebook: what Python hands over, and the whole way through a real JupyterLab."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import socket
import subprocess
import sys
import time
from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest
import xarray as xr

import attnscope as scope
from attnscope.errors import InputError

NOTEBOOK = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    "cells": [
        {
            "cell_type": "code",
            "id": "look",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": "import attnscope as scope\nwidget = scope.explore(scope.synthetic.example())\nwidget",
        }
    ],
}


def test_the_widget_carries_the_packed_store(plain: xr.Dataset, films: list[np.ndarray]) -> None:
    widget = scope.explore(plain, films)
    (store,) = widget.stores
    assert store["index"]["layers"] == [1, 2, 3]
    assert [each["film"]["num"] for each in store["index"]["prompts"]] == [33, 33, 33]
    assert len(gzip.decompress(store["data"])) > 3 * 3 * 3 * 2 * 81
    assert widget.selection == {}


def test_two_stores_stand_beside_each_other(plain: xr.Dataset, masked: xr.Dataset) -> None:
    assert [each["index"]["name"] for each in scope.explore(plain, compare=masked).stores] == [
        "first",
        "second",
    ]


def test_stores_without_a_layer_in_common_are_refused(plain: xr.Dataset) -> None:
    with pytest.raises(InputError, match="expected two stores that share a layer"):
        scope.explore(plain.sel(layer=[1]), compare=plain.sel(layer=[3]))


def test_it_imports_no_jupyter_before_it_is_asked_for() -> None:
    program = "import sys, attnscope.exploring.explore, attnscope.exploring.report; print('anywidget' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


HOST = """async ([source, stores]) => {
  const module = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const el = document.body.appendChild(document.createElement("div")), values = {}, saved = [];
  values.stores = stores.map(({ index, data }) => {
    const letters = atob(data), bytes = new Uint8Array(letters.length + 8);
    for (let place = 0; place < letters.length; place += 1) bytes[place + 8] = letters.charCodeAt(place);
    return { index, data: new DataView(bytes.buffer, 8) } });
  const model = { get: (name) => values[name], set: (name, value) => { values[name] = value },
    save_changes: () => saved.push({ ...values.selection }), on: () => {}, off: () => {} };
  const close = await module.default.render({ model, el });
  const maps = el.querySelectorAll("canvas.map").length;
  el.querySelector("canvas.atlas").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowUp", bubbles: true }));
  close();
  return { maps, last: saved.at(-1), exported: Object.keys(module.default) } }"""


def test_it_keeps_to_the_contract_of_anywidget(browser: Any, plain: xr.Dataset, masked: xr.Dataset) -> None:
    """What JupyterLab, VS Code, Colab and marimo have in common: one module without imports, and bytes as a view."""
    widget = scope.explore(plain, compare=masked)
    source = widget._esm
    assert re.findall(r"^\s*import\b|\bimport\s*\(", source, re.M) == []
    assert "http" not in source + widget._css
    stores = [{**store, "data": b64encode(store["data"]).decode()} for store in widget.stores]
    page = browser.new_context().new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    shown = page.evaluate(HOST, [source, stores])
    assert shown["exported"] == ["render"]
    assert shown["maps"] == 3
    assert shown["last"]["layer"] in (1, 2, 3)
    assert [url for url in asked if not url.startswith(("blob:", "data:"))] == []


@pytest.fixture
def lab(tmp_path: Path) -> Any:
    """A JupyterLab with one notebook; gives its address."""
    (tmp_path / "look.ipynb").write_text(json.dumps(NOTEBOOK))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--no-browser", "--allow-root", "--IdentityProvider.token=", f"--ServerApp.root_dir={tmp_path}"]
    words += [
        f"--port={port}",
        "--LabApp.expose_app_in_browser=True",
        "--LabApp.news_url=",
        "--ServerApp.ip=127.0.0.1",
    ]
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen([sys.executable, "-m", "jupyterlab", *words], stdout=log, stderr=log)
        try:
            _wait_for(f"http://127.0.0.1:{port}/api/status")
            yield f"http://127.0.0.1:{port}/lab/tree/look.ipynb"
        finally:
            server.terminate()
            server.wait(timeout=30)


def _wait_for(address: str) -> None:
    for _ in range(120):
        try:
            with urlopen(address):
                return
        except (URLError, ConnectionError):
            time.sleep(0.5)
    raise TimeoutError(address)


@pytest.mark.slow
def test_in_jupyterlab_a_click_is_told_to_python(lab: str, browser: Any) -> None:
    """A real kernel: the cell runs, the explorer appears, a click on a head reaches the widget in the kernel."""
    if shutil.which("chromium") is None:
        pytest.skip("no Chromium on this machine")
    page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
    page.goto(lab)
    page.wait_for_selector(".jp-Notebook .cm-content", timeout=90_000)
    page.wait_for_function(
        "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel", timeout=90_000
    )
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_selector(".attnscope-explorer[data-ready]", timeout=120_000)
    place = page.evaluate(
        """() => {
        const { left, top, across, down, cell } = document.querySelector(".attnscope-explorer").explorer.grid;
        return { x: left + across + cell / 2, y: top + 2 * down + cell / 2 } }"""
    )
    page.locator(".attnscope-explorer canvas.atlas").click(position=place)
    program = """async () => { const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
      const future = kernel.requestExecute({ code: "print(widget.selection['layer'], widget.selection['head'])" });
      let said = ""; future.onIOPub = (message) => { said += message.content.text ?? "" };
      await future.done; return said.trim() }"""
    assert page.evaluate(program) == "3 1"
