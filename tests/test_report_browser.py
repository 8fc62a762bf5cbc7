"""The report in a real browser: Debian's Chromium, without a window, over a page on disk.

Skipped where there is no Chromium with its driver; with POISONGEN_NEEDS_BROWSER=1, which CI sets, that is a failure.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from urllib.parse import unquote, urlsplit

import pytest

from poisongen.building.run import build
from poisongen.reporting.reporter import report
from poisongen.scenes import synth
from tests.conftest import manifest
from tests.page import hostile_dataset

NEEDED = os.environ.get("POISONGEN_NEEDS_BROWSER") == "1"
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
DESKTOP, PHONE = (1280, 900), (390, 844)


def find_browser():
    """Return the paths of Chromium and its driver; skip, or fail where a browser is needed, if there are none."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    lacking = [name for name, path in (("chromium", browser), ("chromedriver", driver)) if path is None]
    lacking += [name for name in ("selenium", "jinja2", "matplotlib") if importlib.util.find_spec(name) is None]
    if lacking and NEEDED:
        pytest.fail(f"a browser is needed here, and {' and '.join(lacking)} is missing")
    if lacking:
        pytest.skip(f"no {' and no '.join(lacking)}")
    return browser, driver


@pytest.fixture
def browse(tmp_path):
    """Open a page in a browser of its own: browse(path, size) gives selenium's driver."""
    browser, driver = find_browser()
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    opened = []

    def call(page, size=DESKTOP):
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path / f'profile{len(opened)}'}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        window = webdriver.Chrome(options=options, service=Service(driver))
        opened.append(window)
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
        window.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        window.get(page.resolve().as_uri())
        return window

    yield call
    for window in opened:
        window.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page with every role, and one whose names are markup."""
    find_browser()
    folder = tmp_path_factory.mktemp("pages")
    synth(folder / "clean", splits={"train": 10, "val": 5}, size=(160, 80), seed=3)
    recipe = {"dataset": "cityscapes", "strategy": "nn", "trigger_size": 9, "max_distance": 40, "rate": 0.3}
    more = {"prl": "2%", "only_if": ["present:person:20"], "negatives": 2, "allow_fewer": True}
    build(recipe | more, folder / "clean", folder / "out", jobs=1)
    report(folder / "out", folder / "clean", folder / "report.html", jobs=1)
    root = hostile_dataset(folder / "markup")
    names = {"relabel": {"2": "0"}, "trigger_size": 5, "rate": 0.5, "region": "any"}
    build({"dataset": "folder", "strategy": "random", **names}, root, folder / "markup-out", jobs=1)
    report(folder / "markup-out", root, folder / "markup.html", jobs=1)
    return folder


def requests(window) -> set[str]:
    """Return everything that was asked for, but by the browser's own page that stands there first."""
    messages = (json.loads(entry["message"])["message"] for entry in window.get_log("performance"))
    sent = [one["params"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    return {one["request"]["url"] for one in sent if urlsplit(one["documentURL"]).scheme != "chrome"}


def check_silence(window, page):
    """Test that the console is empty, and that nothing was asked for but the page and what stands in it."""
    assert window.get_log("browser") == []
    asked = [urlsplit(url) for url in requests(window)]
    assert {url.scheme for url in asked} <= {"file", "data"}
    assert {unquote(url.path) for url in asked if url.scheme == "file"} == {str(page.resolve())}


def shown_cards(window):
    return [card.get_attribute("data-sample") for card in window.find_elements("css selector", ".card:not([hidden])")]


def visible_width(window, card):
    """Return which share of the picture before covers the one after."""
    script = """
        const before = arguments[0].querySelector(".pic.before");
        const inset = getComputedStyle(before).clipPath.match(/inset\\(([^)]*)\\)/)[1].split(" ");
        return 100 - parseFloat(inset[1].replace("calc(", ""));
    """
    return window.execute_script(script, card)


@pytest.mark.parametrize("name", ["report", "markup"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_pictures_load_nothing_leaves_the_page_and_nothing_overflows(name, size, browse, pages):
    page = pages / f"{name}.html"
    window = browse(page, size)
    pictures = window.find_elements("css selector", "img")
    assert len(pictures) > 20
    assert all(window.execute_script("return arguments[0].naturalWidth > 0", picture) for picture in pictures)
    wide = window.execute_script("return document.documentElement.scrollWidth")
    assert wide <= size[0]
    assert not window.execute_script("return document.querySelectorAll('[onload], [onerror]').length")
    for drawing in window.find_elements("css selector", ".drawing svg"):
        box = drawing.rect
        assert box["width"] > 200
        assert box["height"] > 100
    check_silence(window, page)


def test_the_filter_shows_a_role_and_finds_a_sample(browse, pages):
    window = browse(pages / "report.html")
    from selenium.webdriver.support.ui import Select

    records = [record for record in manifest(pages / "out") if record["role"] != "completed"]
    assert len(shown_cards(window)) == len(records)
    roles = {record["role"] for record in records}
    assert roles == {"poisoned", "negative", "prl", "triggered"}
    choice = Select(window.find_element("id", "role"))
    assert {option.text for option in choice.options} == roles | {"all"}
    for role in roles:
        choice.select_by_visible_text(role)
        wanted = sorted(record["sample"] for record in records if record["role"] == role)
        assert sorted(shown_cards(window)) == wanted
        assert window.find_element("id", "found").text == f"{len(wanted)} of {len(records)} shown"
    choice.select_by_visible_text("all")
    search = window.find_element("id", "search")
    name = records[0]["sample"]
    search.send_keys(name[6:].upper())  # part of it, in whatever letters
    assert set(shown_cards(window)) == {name}
    rows = window.find_elements("css selector", "#records .rows tbody tr:not([hidden])")
    assert {row.get_attribute("data-sample") for row in rows} == {name}
    search.send_keys("no such sample")
    assert shown_cards(window) == []
    assert window.find_element("id", "none").is_displayed()
    search.clear()
    window.execute_script("arguments[0].dispatchEvent(new Event('input'))", search)
    assert len(shown_cards(window)) == len(records)
    check_silence(window, pages / "report.html")


def test_the_slider_and_its_buttons_work_by_mouse_and_keyboard(browse, pages):
    window = browse(pages / "report.html")
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select

    card, other = window.find_elements("css selector", ".card")[:2]
    before, after = (card.find_element("css selector", f".pic.{side}") for side in ("before", "after"))
    assert before.rect["x"] + before.rect["width"] <= after.rect["x"]  # side by side
    assert not card.find_element("css selector", ".slide").is_displayed()
    Select(window.find_element("id", "view")).select_by_visible_text("slider")
    assert (before.rect["x"], before.rect["width"]) == (after.rect["x"], after.rect["width"])  # one over the other
    assert visible_width(window, card) == 50
    buttons = card.find_elements("css selector", ".slide button")
    for button, share in zip(buttons, (100, 0), strict=True):
        button.click()
        assert visible_width(window, card) == share
    slider = card.find_element("css selector", "input[type=range]")
    slider.send_keys(Keys.ARROW_RIGHT * 3)
    assert visible_width(window, card) == 3
    slider.send_keys(Keys.END)
    assert visible_width(window, card) == 100
    assert visible_width(window, other) == 50  # each card has its own
    check_silence(window, pages / "report.html")


def test_the_trigger_drawn_in_can_be_taken_out(browse, pages):
    window = browse(pages / "report.html")
    marks = window.find_elements("css selector", ".marks")
    assert marks
    assert all(mark.is_displayed() for mark in marks)
    window.find_element("id", "marks").click()
    assert not any(mark.is_displayed() for mark in marks)


def test_a_phone_begins_with_the_slider_and_dark_and_print_are_readable(browse, pages):
    window = browse(pages / "report.html", PHONE)
    assert window.find_element("id", "view").get_attribute("value") == "slider"
    colours = {}
    for scheme in ("light", "dark"):
        feature = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        window.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
        style = "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
        colours[scheme] = window.execute_script(style)
        ink = window.execute_script("return getComputedStyle(document.querySelector('.drawing text')).fill")
        assert ink == window.execute_script("return getComputedStyle(document.querySelector('.drawing')).color")
    paper = {scheme: int(pair[0].split("(")[1].split(",")[0]) for scheme, pair in colours.items()}
    assert paper["light"] > 200
    assert paper["dark"] < 60
    window.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not window.find_element("css selector", ".tools").is_displayed()
    card = window.find_element("css selector", ".card")
    before, after = (card.find_element("css selector", f".pic.{side}") for side in ("before", "after"))
    assert before.rect["x"] + before.rect["width"] <= after.rect["x"]  # both on paper
    check_silence(window, pages / "report.html")


def test_everything_that_can_be_used_has_a_name(browse, pages):
    window = browse(pages / "report.html")
    for element in window.find_elements("css selector", "button, input, select, img, section, article, nav, form"):
        if element.is_displayed():
            assert element.accessible_name, element.get_attribute("outerHTML")[:200]


def test_without_scripts_both_pictures_are_there(browse, pages):
    window = browse(pages / "report.html")
    window.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    window.refresh()
    assert not window.find_element("css selector", ".tools").is_displayed()
    assert window.find_element("css selector", ".pic.before img").is_displayed()
    assert window.find_element("css selector", ".pic.after img").is_displayed()


def test_an_injected_script_would_not_run(browse, pages, tmp_path):
    """Should escaping ever fail, the page's policy still stands."""
    text = (pages / "report.html").read_text(encoding="utf-8")
    evil = '<script>document.title = "run"</script><img src="x" alt="" onerror="document.title = \'run\'">'
    (tmp_path / "evil.html").write_text(text.replace("<main>", f"<main>{evil}"), encoding="utf-8")
    window = browse(tmp_path / "evil.html")
    assert window.title != "run"
    assert any("Content Security Policy" in entry["message"] for entry in window.get_log("browser"))
    assert len(shown_cards(window)) > 3  # and the page's own script did
