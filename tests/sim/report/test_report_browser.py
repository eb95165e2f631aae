# SPDX-License-Identifier: Apache-2.0
"""The report as a browser shows it: whole, quiet, and without a network."""

import json
import re
import shutil
import struct
import subprocess
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from plotly.offline import get_plotlyjs
from xorloom.sim.report.page import write_report

from tests.helpers.report import written

pytestmark = pytest.mark.long

CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--virtual-time-budget=10000",
]
LISTEN = """<script>
window.faults = [];
for (const name of ["error", "warn"]) {
  const real = console[name];
  console[name] = (...words) => { faults.push(words.join(" ")); real(...words); };
}
addEventListener("error", (event) => faults.push(String(event.message || event.target)), true);
addEventListener("unhandledrejection", (event) => faults.push(String(event.reason)));
document.addEventListener("securitypolicyviolation", (event) => faults.push(event.blockedURI));
</script>"""
TELL = """<script>
addEventListener("load", () => setTimeout(() => {
  const page = document.scrollingElement;
  const wide = [...document.querySelectorAll("body *")].filter((e) =>
    !e.closest(".table, svg, .chart") && e.getBoundingClientRect().right > innerWidth + 1);
  const found = {
    faults, inner: innerWidth, scroll: page.scrollWidth, height: page.scrollHeight,
    wide: wide.map((e) => e.outerHTML.slice(0, 80)),
    charts: [...document.querySelectorAll("[data-chart]")].map((e) =>
      [e.dataset.chart, e.clientWidth, e.querySelector("svg.main-svg")?.clientWidth]),
    loaded: performance.getEntriesByType("resource").map((entry) => entry.name),
    colour: getComputedStyle(document.body).backgroundColor,
  };
  parent.postMessage(found, "*");
}, 1500));
addEventListener("message", (event) => {
  const place = document.createElement("pre");
  place.id = "told";
  place.textContent = JSON.stringify(event.data);
  document.body.append(place);
});
</script>"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    write_report(written(folder), folder / "report.html", "report")
    text = (folder / "report.html").read_text(encoding="utf-8")
    heard = text.replace("<head>", "<head>" + LISTEN).replace("</body>", TELL + "</body>")
    (folder / "heard.html").write_text(heard, encoding="utf-8")
    # A window is at least 500 wide, a frame in it not.
    frame = f'<body style="margin:0">{TELL}<iframe src="heard.html" width="390" height="20000">'
    (folder / "phone.html").write_text(frame, encoding="utf-8")
    return folder / "report.html"


def chromium(page: Path, profile: Path, *options: str) -> str:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine (apt-get install chromium)")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *options, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def told(page: Path, profile: Path, *options: str) -> dict[str, Any]:
    text = chromium(page, profile, "--dump-dom", *options)
    (found,) = re.findall(r'<pre id="told">(.*?)</pre>', text, re.DOTALL)
    return json.loads(unescape(found))


@pytest.mark.parametrize(("name", "width"), [("heard", 1200), ("phone", 390)])
def test_page_draws_all_charts_quietly_and_fits(
    name: str, width: int, report: Path, tmp_path: Path
) -> None:
    page = report.with_name(f"{name}.html")
    found = told(page, tmp_path / "profile", f"--window-size={max(500, width)},900")
    assert found["faults"] == []
    assert found["loaded"] == []
    assert found["inner"] == width
    assert found["scroll"] <= width
    assert found["wide"] == []
    assert len(found["charts"]) == 17
    for chart, place, drawn in found["charts"]:
        assert drawn == place > 250, chart


@pytest.mark.slow
def test_page_follows_the_dark_setting(report: Path, tmp_path: Path) -> None:
    light, dark = (
        told(report.with_name("heard.html"), tmp_path / str(n), f"--blink-settings={setting}")
        for n, setting in enumerate(("preferredColorScheme=1", "preferredColorScheme=0"))
    )
    assert light["colour"] == "rgb(246, 247, 249)"
    assert dark["colour"] == "rgb(17, 22, 28)"
    assert dark["faults"] == []


def test_a_fault_would_be_heard(report: Path, tmp_path: Path) -> None:
    """The checks above can fail: a request, an error and a wide element are all seen."""
    bad = '<img src="https://example.org/x.png"><div style="width:3000px">wide</div>'
    bad += "<script>console.error('broken'); missing()</script>"
    text = report.with_name("heard.html").read_text(encoding="utf-8")
    page = tmp_path / "bad.html"
    page.write_text(text.replace("<main>", "<main>" + bad), encoding="utf-8")
    found = told(page, tmp_path / "profile")
    assert "https://example.org/x.png" in found["faults"]
    assert "broken" in found["faults"]
    assert any("missing is not defined" in fault for fault in found["faults"])
    assert found["scroll"] > 2000
    assert found["wide"]


def test_browser_asks_the_network_for_nothing(report: Path, tmp_path: Path) -> None:
    log = tmp_path / "net.json"
    chromium(report, tmp_path / "profile", "--dump-dom", f"--log-net-log={log}")
    events = log.read_text(encoding="utf-8")
    hosts = set(re.findall(r'"url":"(?:https?|wss?)://([^/"]+)', events))
    # The browser's own services, which no page can turn off.
    assert {
        host for host in hosts if not re.search(r"(google(apis)?|gstatic)\.com$", host)
    } == set()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "width"), [("report", 1200), ("phone", 390)])
def test_screenshot_shows_something(name: str, width: int, report: Path, tmp_path: Path) -> None:
    picture = tmp_path / "shot.png"
    size = f"--window-size={width},3000"
    chromium(report.with_name(f"{name}.html"), tmp_path / "p", f"--screenshot={picture}", size)
    data = picture.read_bytes()
    assert struct.unpack(">II", data[16:24]) == (width, 3000)
    assert len(data) > 60_000  # an empty page has a few thousand bytes


class Elements(HTMLParser):
    """Attributes of all elements, and the texts of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self._into: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._into = {"script": self.scripts, "style": self.styles}.get(tag)
        if self._into is not None:
            self._into.append("")

    def handle_data(self, data: str) -> None:
        if self._into:
            self._into[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._into = None


def test_page_holds_all_it_needs(report: Path) -> None:
    page = Elements(report.read_text(encoding="utf-8"))
    for tag, name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "data", "srcset", "action", "poster", "style"):
            assert name != "src", (tag, value)
            inside = value.startswith("#") or (name == "style" and "url" not in value)
            assert inside, (tag, name, value)
        elif "://" in value:
            assert name.startswith("xmlns"), (tag, name, value)
    for style in page.styles:
        assert "@import" not in style
        assert "url(" not in style
    plotly, data, script = page.scripts
    assert plotly.strip() == get_plotlyjs().strip()
    assert "://" not in data + script
    policy = [value for tag, name, value in page.attributes if name == "content"]
    assert any(value.startswith("default-src 'none'") for value in policy)
