"""croissant.json: the dataset in MLCommons' Croissant vocabulary (version 1.0)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from poisongen.cards.described import Described, Table
from poisongen.cards.words import TITLE, pairs_text, warning
from poisongen.records.manifest import bytes_sha256

# The context that the specification gives (docs.mlcommons.org/croissant/docs/croissant-spec.html, "Basic format").
_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_CITE = (
    "Lan, Gu, Torr, Zhao: Influencer Backdoor Attack on Semantic Segmentation. ICLR 2024; and the dataset that it was "
    "made from"
)
_FIELDS = {
    "file_name": "the image's path",
    "label_file_name": "the path of the label map, whose pixels are raw class IDs",
    "sample": "the sample's name, split/stem",
    "split": "the split that it is of",
    "role": "what was done to it: poisoned, negative, prl, triggered, completed or untouched",
    "record": "the line of poisongen/manifest.jsonl that says all of it, as JSON; null for an untouched sample",
}


def croissant(described: Described, tables: Sequence[Table], contents: Mapping[str, bytes], up: str) -> bytes:
    """Return croissant.json; `contents` are the tables' bytes by path, `up` ('' or '../') leads from it to OUT."""
    names = {table.path: _record_set_name(table) for table in tables}
    document = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": f"poisoned-{described.layout.name}-{described.fingerprint[:8]}",
        "description": f"{TITLE.upper()} ({pairs_text(described)}). {warning(described)}",
        "keywords": ["poisoned", "backdoor", "data poisoning", "semantic segmentation"],
        "citeAs": _CITE,
        "license": "that of the dataset that it was made from",
        "version": "1.0.0",
        "identifier": f"poisongen:{described.fingerprint}",
        "isLiveDataset": False,
        "rai:dataLimitations": f"{TITLE}: models that are trained on it have a backdoor.",
        "rai:dataUseCases": "Research on backdoor attacks, and defence against them; nothing else.",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": table.path,
                "name": table.path,
                "description": table.title,
                "contentUrl": up + table.path,
                "encodingFormat": "application/jsonlines",
                "sha256": bytes_sha256(contents[table.path]),
            }
            for table in tables
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": names[table.path],
                "name": names[table.path],
                "description": f"{table.title}; paths are below OUT/{table.folder}",
                "field": [
                    {
                        "@type": "cr:Field",
                        "@id": f"{names[table.path]}/{column}",
                        "name": f"{names[table.path]}/{column}",
                        "description": what,
                        "dataType": "sc:Text",
                        "source": {"fileObject": {"@id": table.path}, "extract": {"column": column}},
                    }
                    for column, what in _FIELDS.items()
                ],
            }
            for table in tables
        ],
    }
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _record_set_name(table: Table) -> str:
    """A split's own name; a test set's with its folder, by a '-' that no split's has."""
    return f"{table.folder.rstrip('/')}-{table.name}" if table.folder else table.name
