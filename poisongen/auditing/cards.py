"""The cards: files beside the dataset that must be what the records make of them, to the byte."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from poisongen.auditing.faults import Findings
from poisongen.cards.making import CARDS, make_cards
from poisongen.errors import OutputError
from poisongen.files.foreign import Places, Refused, open_out, sha256_of
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import FOLDER, SUMMARY, CardFacts, bytes_sha256
from poisongen.records.reading import Records

_FIRST = 3  # the version of records since which there are cards
_SUMMARY = f"{FOLDER}/{SUMMARY}"


def check_cards(records: Records, places: Places, rules: Rules | None, findings: Findings) -> None:
    """Test that every card has its digest, and is what the records say.

    Without `rules`, where the layout's lists and classes cannot be read, and where the records themselves are at fault,
    only the digests are tested. OutputError if a newer version wrote them.
    """
    if records.summary is None:
        return
    cards = records.summary.cards
    if cards is None:
        findings.test("cards", records.summary.records < _FIRST, _SUMMARY, "the cards and their digests", "none")
        return
    for path, said in cards.files.items():
        try:
            with open_out(places, path, None) as file:
                digest = sha256_of(file)
        except (Refused, OSError):
            continue  # a fault of the listing
        findings.test("cards", digest == said.sha256, path, f"sha256 {said.sha256}", digest)
    if not findings.test("cards", cards.version >= 1, _SUMMARY, f"cards of a version up to {CARDS}", cards.version):
        return
    if cards.version > CARDS:
        raise OutputError(f"{places.out}: built by a newer poisongen (cards {cards.version}); update to read it")
    if cards.version < CARDS:
        findings.note("what the cards say: another version of poisongen wrote them")
    elif rules is None or findings.faulty["records"]:
        findings.note("what the cards say: it follows from records and lists that cannot be used")
    else:
        _compare(cards, _wanted(records, places, rules, findings), findings)


def _wanted(records: Records, places: Places, rules: Rules, findings: Findings) -> Mapping[str, bytes] | None:
    """Return the cards that the records make; None, with a fault, where they make none."""
    assert records.summary is not None  # noqa: S101  the caller has seen to it
    bad = [skip.sample for skip in records.skipped if skip.file is not None]
    root = places.root or places.out / rules.above
    try:
        return make_cards(
            rules.layout,
            rules.classes,
            root,
            rules.above,
            rules.recipe,
            records.manifest,
            records.links,
            bad,
            records.summary.fingerprint,
        )
    except Exception as error:  # records may be anybody's
        logging.getLogger(__name__).debug("the cards cannot be made", exc_info=True)
        findings.test("cards", False, _SUMMARY, "records that make cards", error)
        return None


def _compare(cards: CardFacts, wanted: Mapping[str, bytes] | None, findings: Findings) -> None:
    if wanted is None:
        return
    said = {path: file.sha256 for path, file in cards.files.items()}
    for path in sorted(said.keys() | wanted.keys()):
        digest = bytes_sha256(wanted[path]) if path in wanted else "no such card"
        findings.test("cards", said.get(path) == digest, path, f"what the records say ({digest})", said.get(path))
