"""Tools to tamper with a build: change a file or a record, and cover the tracks by making the digests fit again."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from poisongen.cards.making import make_cards
from poisongen.datasets import find_layout
from poisongen.errors import PoisongenError
from poisongen.files import images, png
from poisongen.recipe.model import make_recipe
from poisongen.records.manifest import LinkRecord, SampleRecord, bytes_sha256, fingerprint, json_line, record_key
from poisongen.records.reading import above_of

MANIFEST, SUMMARY, RECIPE = "poisongen/manifest.jsonl", "poisongen/summary.json", "poisongen/recipe.json"
ROAD, SIDEWALK, SKY, CAR = 7, 8, 23, 26  # Cityscapes label IDs

CASES: dict[str, tuple] = {}
"""Every kind of tampering by name: which build, whether the audit needs the source, the deed, and whether the source
itself is changed. The deed returns a name that a fault must hold."""


def case(build_name: str = "cityscapes", source: bool = False, own_source: bool = False):
    """Add a deed to the table."""

    def add(function):
        CASES[function.__name__] = (build_name, source, function, own_source)
        return function

    return add


RECORDS = ("recipe.json", "manifest.jsonl", "skipped.jsonl", "links.jsonl")


def seal_card(forge, path: str, data: bytes | None) -> str:
    """Give a card other bytes, or none, and make the summary say so."""
    document = forge.json("summary.json")
    assert data is None or data != forge.read(path)
    if data is None:
        (forge.out / path).unlink()
        del document["cards"]["files"][path]
    else:
        forge.write(path, data)
        document["cards"]["files"][path] = {"size": len(data), "sha256": bytes_sha256(data)}
    forge.write_json("summary.json", document)
    return path


class Forgery:
    """A build in `out`, made from `root`, that a test may change."""

    def __init__(self, out: Path, root: Path) -> None:
        self.out, self.root = out, root

    def lines(self, name: str) -> list[dict]:
        return [json.loads(line) for line in (self.out / "poisongen" / name).read_text().splitlines()]

    def write_lines(self, name: str, lines: list[dict]) -> None:
        self.write(f"poisongen/{name}", "".join(map(json_line, lines)).encode())

    def write(self, path: str, data: bytes) -> None:
        """Replace a file of OUT; one that is linked to the source leaves the source alone."""
        (self.out / path).unlink(missing_ok=True)
        (self.out / path).parent.mkdir(parents=True, exist_ok=True)
        (self.out / path).write_bytes(data)

    def read(self, path: str) -> bytes:
        return (self.out / path).read_bytes()

    def json(self, name: str) -> dict:
        return json.loads(self.read(f"poisongen/{name}"))

    def write_json(self, name: str, document: dict) -> None:
        self.write(f"poisongen/{name}", json_line(document).encode())

    def records(self, role: str) -> list[dict]:
        return [record for record in self.lines("manifest.jsonl") if record["role"] == role]

    def file(self, record: dict, kind: str = "image") -> dict:
        return next(file for file in record["files"] if file["kind"] == kind)

    def path(self, role: str, kind: str = "image", number: int = 0) -> str:
        return self.file(self.records(role)[number], kind)["path"]

    def change(self, of: str, number: int = 0, seal: bool = True, **values: object) -> dict:
        """Give a record other values (`trigger__box` reaches inside); return it as it was."""
        lines = self.lines("manifest.jsonl")
        record = [line for line in lines if line["role"] == of][number]
        before = json.loads(json.dumps(record))
        for key, value in values.items():
            *outer, last = key.split("__")
            place = record
            for part in outer:
                place = place[part]
            place[last] = value
        self.write_lines("manifest.jsonl", sorted(lines, key=record_key))
        if seal:
            self.seal()
        return before

    def pixels(self, path: str) -> np.ndarray:
        return images.decode(self.read(path), path).copy()

    def paint(self, path: str, pixels: np.ndarray) -> None:
        """Put other pixels into a PNG, all else kept; into a JPEG, encoded anew."""
        data = self.read(path)
        if data[:8] == png.SIGNATURE:
            self.write(path, png.encode(pixels, png.parse(data, path)))
        else:
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, "JPEG", quality=95, subsampling=0)
            self.write(path, stream.getvalue())

    def redigest(self, *paths: str) -> None:
        """Make the digests of these files fit, in whatever record names them, and seal."""
        lines, links = self.lines("manifest.jsonl"), self.lines("links.jsonl")
        for path in paths:
            data = self.read(path)
            pixels = None if path.endswith((".json", ".txt")) else images.pixels_sha256(images.decode(data, path))
            for file in (file for line in lines for file in line["files"] if file["path"] == path):
                file["sha256"], file["pixels_sha256"], file["size"] = bytes_sha256(data), pixels, len(data)
            for link in (link for link in links if link["path"] == path):
                link["size"] = len(data)
                if "pixels_sha256" in link:
                    link["pixels_sha256"] = pixels
                if "sha256" in link:
                    link["sha256"] = bytes_sha256(data)
        self.write_lines("manifest.jsonl", lines)
        self.write_lines("links.jsonl", links)
        self.seal()

    def seal(self, **summary_values: object) -> None:
        """Make the summary fit: digests, fingerprints, and whatever values are given."""
        summary = self.json("summary.json")
        summary["digests"] = {name: bytes_sha256(self.read(f"poisongen/{name}")) for name in RECORDS}
        recipe = make_recipe(self.json("recipe.json"))
        summary["recipe_sha256"] = recipe.fingerprint()
        lines, links = self.lines("manifest.jsonl"), self.lines("links.jsonl")
        summary["fingerprint"] = fingerprint(recipe.fingerprint(), lines, links)
        summary["strategy"], summary["dataset"] = recipe.strategy, recipe.dataset
        for role in ("poisoned", "prl", "triggered", "completed"):
            summary["counts"][role] = sum(line["role"] == role for line in lines)
        summary["counts"]["skipped"] = len(self.lines("skipped.jsonl"))
        if "cards" in summary:
            summary["cards"]["files"] = self.make_cards(recipe, summary["fingerprint"])
        self.write_json("summary.json", summary | summary_values)

    def make_cards(self, recipe, content: str) -> dict[str, dict]:
        """Write the cards that go with the records, where they can be made; return what the summary says of them."""
        layout = find_layout(recipe.dataset)
        records = [SampleRecord.model_validate_json(json_line(line)) for line in self.lines("manifest.jsonl")]
        links = [LinkRecord.model_validate_json(json_line(line)) for line in self.lines("links.jsonl")]
        bad = [line["sample"] for line in self.lines("skipped.jsonl") if "file" in line]
        for path in self.json("summary.json")["cards"]["files"]:
            (self.out / path).unlink(missing_ok=True)
        try:
            above = above_of(records, links)
            home = self.out / above
            made = make_cards(layout, layout.classes(home), home, above, recipe, records, links, bad, content)
        except (PoisongenError, LookupError, StopIteration):
            made = {}
        for path, data in made.items():
            self.write(path, data)
        return {path: {"size": len(data), "sha256": bytes_sha256(data)} for path, data in made.items()}

    def recipe(self, **values: object) -> None:
        """Change the recipe, and seal."""
        self.write_json("recipe.json", self.json("recipe.json") | values)
        self.seal()

    def unpoison(self, record: dict) -> None:
        """Put a sample's own files back and make it look as if it had never been touched."""
        lines = [line for line in self.lines("manifest.jsonl") if line["sample"] != record["sample"]]
        links = self.lines("links.jsonl")
        for file in record["files"]:
            data = (self.root / file["source"]).read_bytes()
            self.write(file["path"], data)
            link = {"path": file["path"], "source": file["source"], "size": len(data)}
            if file["pixels_sha256"] and file["kind"] != "image":
                link["pixels_sha256"] = images.pixels_sha256(images.decode(data, file["path"]))
            links.append(link)
        self.write_lines("manifest.jsonl", lines)
        self.write_lines("links.jsonl", sorted(links, key=lambda link: link["path"]))
        self.seal()

    def symlink(self, path: str, target: Path | str) -> None:
        (self.out / path).unlink(missing_ok=True)
        (self.out / path).symlink_to(target)
