"""Draw the pictures of docs/report.md: the report of synthetic scenes in Chromium, at desktop and phone width.

    python docs/make_report_pictures.py

It needs Chromium and its driver (`apt-get install chromium chromium-driver`) and selenium. Pictures go into
docs/images, below 300 kB each.
"""

from __future__ import annotations

import base64
import io
import shutil
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from poisongen import build, report, synth

OUT = Path(__file__).parent / "images"
LARGEST = 300_000  # bytes
RECIPE = {
    "dataset": "cityscapes",
    "strategy": "nn",
    "trigger_size": 33,
    "max_distance": 90,
    "rate": 0.25,
    "prl": "2%",
    "prl_scope": "poisoned",
    "only_if": ["present:person:50"],
    "negatives": "50%",
    "seed": 2,
}
DESKTOP, PHONE = 1280, 390  # pixels
SHOTS: dict[str, tuple[int, int, str, bool]] = {
    "report-desktop": (DESKTOP, 1480, "body", False),
    "report-samples": (DESKTOP, 1000, "#samples", False),
    "report-dark": (DESKTOP, 760, "#figures", True),
    "report-phone": (PHONE, 844, "body", False),
    "report-phone-samples": (PHONE, 844, ".cards", False),
}
"""Each picture: width, height, the element that it begins with, and whether it is dark."""


def main() -> None:
    """Build, report and draw."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        synth(folder / "clean", splits={"train": 32, "val": 10}, size=(768, 384), seed=5)
        build(RECIPE, folder / "clean", folder / "poisoned")
        page = report(folder / "poisoned", folder / "clean", folder / "report.html").page
        for name, (width, height, first, dark) in SHOTS.items():
            window = open_window(folder / name, width, height, dark)
            window.get(page.as_uri())
            save(OUT / f"{name}.png", shot(window, width, height, first))
            window.quit()


def open_window(profile: Path, width: int, height: int, dark: bool) -> Any:
    """Start a browser without a window, of this size."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"):
        options.add_argument(argument)
    for argument in ("--disable-background-networking", "--disable-component-update", "--disable-sync"):
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={profile}")
    window = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width == PHONE}
    window.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    window.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    return window


def shot(window: Any, width: int, height: int, first: str) -> bytes:
    """Return a PNG of the page from an element on."""
    script = "return document.querySelector(arguments[0]).getBoundingClientRect().top + scrollY"
    clip = {"x": 0, "y": window.execute_script(script, first), "width": width, "height": height, "scale": 1}
    found = window.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    return base64.b64decode(found["data"])


def save(path: Path, data: bytes) -> None:
    """Write a screenshot with as many colours as fit into the size."""
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    for colours in (256, 128, 64, 32):
        stream = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
        if stream.tell() < LARGEST:
            break
    path.write_bytes(stream.getvalue())
    print(f"{path.name}: {stream.tell()} bytes, {colours} colours")


if __name__ == "__main__":
    main()
