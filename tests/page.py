"""What tests of the report share: reading its page as a browser would, and a dataset that is named like markup."""

from __future__ import annotations

import base64
import io
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image

VOID_ELEMENTS = {"meta", "img", "input", "br", "link", "hr"}
SVG_LEAVES = {"path", "use", "image", "rect"}


class Page(HTMLParser):
    """What stands in a page: `elements` with their attributes, `text` by element, `pictures` by their alt text."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(self.source)
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names)), (tag, names)
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.words.append((self.open[-1] if self.open else "", data.strip()))

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self, tag=None):
        return "\n".join(words for name, words in self.words if tag is None or name == tag)

    @property
    def pictures(self):
        found = {attributes["alt"]: attributes["src"] for attributes in self.all("img")}
        assert len(found) == len(self.all("img"))  # no two pictures are called the same
        return found

    def picture(self, alt):
        """Return a picture as it is decoded: palette indices of a label map, RGB of an image."""
        head, data = self.pictures[alt].split(",", 1)
        assert head in ("data:image/png;base64", "data:image/jpeg;base64")
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data, validate=True))))


HOSTILE = "<script>alert(1)</script>"


def hostile_dataset(root: Path) -> Path:
    """Write a dataset whose classes and samples are called like markup."""
    generator = np.random.default_rng(0)
    names = {"0": HOSTILE, "1": '"><img src=x onerror=alert(2)>', "2": "$\\frac{a}{b}$ {{ 7 * 7 }}"}
    root.mkdir()
    classes = ", ".join(f"{number}: {json.dumps(name)}" for number, name in names.items())
    (root / "classes.yaml").write_text(f"classes: {{{classes}}}\nvoid: [255]\n")
    for split, count in (("train", 6), ("val", 2)):
        for number in range(count):
            name = f"'\"><svg onload=alert({number})>&{{{{x}}}} ]]>"
            labels = np.zeros((48, 64), np.uint8)
            labels[30:40, 10:50] = 2
            labels[:10] = 1
            for kind, array in (("images", generator.integers(0, 255, (48, 64, 3), np.uint8)), ("masks", labels)):
                (root / kind / split).mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(root / kind / split / f"{name}.png")
    return root
