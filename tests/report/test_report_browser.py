# SPDX-License-Identifier: GPL-2.0-or-later
"""The page in headless Chromium: it renders, fits a phone, and prints."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
from report_samples import write_all

from cgpot.report.build import ReportInput, write_report

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=5000",
]

PROBE = """
<script>
addEventListener("load", () => {
  const root = document.documentElement;
  const wide = [...document.querySelectorAll("body *")].filter((e) => {
    if (e.closest(".scroll") && !e.classList.contains("scroll")) return false;
    if (e.closest("svg") && e.tagName !== "svg") return false;
    if (getComputedStyle(e).position === "absolute" || e.closest("thead")) return false;
    const box = e.getBoundingClientRect();
    return box.width > 0 && box.right > root.clientWidth + 1;
  });
  const empty = [...document.querySelectorAll("figure svg")].filter((e) => {
    const box = e.getBoundingClientRect();
    return box.width < 200 || box.height < 80 || e.querySelectorAll("path").length < 4;
  });
  const small = [...document.querySelectorAll("figure svg")].map((e) => {
    const text = e.querySelector("text");
    return text ? text.getBoundingClientRect().height : 0;
  });
  const found = {
    width: root.clientWidth,
    scroll: root.scrollWidth,
    wide: wide.slice(0, 5).map((e) => `${e.tagName}.${e.className} ${e.textContent.slice(0, 40)}`),
    figures: document.querySelectorAll("figure svg").length,
    empty: empty.length,
    smallest_text: Math.min(...small),
    background: getComputedStyle(document.body).backgroundColor,
    font: getComputedStyle(document.querySelector("figure svg text")).fontFamily,
  };
  parent.postMessage(JSON.stringify(found), "*");
});
</script></body>
"""

FRAME = """<!doctype html><body style="margin:0">
<iframe src="probe.html" style="border:0;width:{width}px;height:900px"></iframe>
<pre id="found">nothing</pre>
<script>addEventListener("message", (e) => {{
  document.getElementById("found").textContent = e.data;
}});</script></body>"""


def chromium(*arguments: str, profile) -> str:
    done = subprocess.run(
        [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    base = tmp_path_factory.mktemp("browser")
    write_report(ReportInput(**write_all(base), command="make demo"), base / "report.html")
    text = (base / "report.html").read_text(encoding="utf-8")
    (base / "probe.html").write_text(text.replace("</body>", PROBE), encoding="utf-8")
    return base


@pytest.mark.parametrize("width", [360, 1280])
def test_page_fits_its_window(page, tmp_path, width):
    (page / f"frame{width}.html").write_text(FRAME.format(width=width), encoding="utf-8")
    dom = chromium(
        "--dump-dom",
        "--window-size=1400,1000",
        (page / f"frame{width}.html").as_uri(),
        profile=tmp_path,
    )
    match = re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
    assert match is not None
    found = json.loads(match.group(1))
    assert found["width"] == pytest.approx(width, abs=20)  # less a scroll bar
    assert found["wide"] == []
    assert found["scroll"] <= found["width"]
    assert found["figures"] == 12
    assert found["empty"] == 0
    assert found["smallest_text"] >= 8.0  # px
    assert found["background"] == "rgb(255, 255, 255)"
    assert "sans-serif" in found["font"]


def test_dom_holds_every_section(page, tmp_path):
    dom = chromium("--dump-dom", (page / "report.html").as_uri(), profile=tmp_path)
    for name in ("verdict", "structure", "state", "forces", "model", "runs", "data", "origin"):
        assert f'<h2 id="{name}">' in dom
    assert dom.count("<figure") == 12
    assert "All 6 checks met." in dom


def test_page_prints_on_a4(page, tmp_path):
    pdf = page / "report.pdf"
    chromium(
        "--no-pdf-header-footer",
        f"--print-to-pdf={pdf}",
        (page / "report.html").as_uri(),
        profile=tmp_path,
    )
    data = pdf.read_bytes()
    assert data.startswith(b"%PDF")
    boxes = re.findall(rb"/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)", data)
    assert 3 <= len(boxes) <= 14
    assert {(round(float(a)), round(float(b))) for a, b in boxes} == {(595, 842)}
