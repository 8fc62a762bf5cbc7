"""Reading a report's page in tests, as a browser's parser would."""

from __future__ import annotations

import base64
import io
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
