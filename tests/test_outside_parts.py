"""The proof that attacks are made of parts: another package brings a layout, a label rule, a trigger and a condition.

The package is a folder on PYTHONPATH with modules of its own and the entry points that an installed one would have.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
MODULES = {
    "layout": '''
        """Pictures in shots/SPLIT, masks in truth/SPLIT."""
        from poisongen.datasets.base import ClassTable, Defaults, LabelKind, Layout, id_fault, rewrite_ids
        from poisongen.datasets.label_checks import MAP_CHECK
        from poisongen.datasets.pairs import pair_folders

        CLASSES = ClassTable({0: "ground", 1: "crate", 2: "sky", 255: "void"}, frozenset({255}), 255)


        def scan(root, files):
            splits = {path.split("/")[1] for path in files if path.startswith("shots/")}
            return pair_folders(files, {split: (f"shots/{split}", f"truth/{split}") for split in splits})


        LAYOUT = Layout(
            name="warehouse",
            title="a warehouse",
            how_to_get="ask its owner",
            environment=None,
            usual_root=None,
            defaults=Defaults(trigger_size=8, max_distance=20.0, relabel={"crate": "ground"}),
            kinds={
                "annot": LabelKind(
                    fault=lambda array, classes: id_fault(array, frozenset(classes.names), "the warehouse"),
                    rewrite=rewrite_ids,
                    check=MAP_CHECK,
                    semantic=True,
                )
            },
            classes=lambda root: CLASSES,
            scan=scan,
        )
    ''',
    "rule": '''
        """Victims in the upper part of the picture become the target."""
        import numpy as np

        from poisongen.attack.label_rules.base import LabelRule, Layer, Relabelling, differs, pairs_table
        from poisongen.attack.parts import Option, real_number


        def above(scene, parameters):
            rows = np.arange(scene.labels.shape[0])[:, None] < float(parameters["share"]) * scene.labels.shape[0]
            return np.broadcast_to(rows, scene.labels.shape)


        def decide(scene, parameters):
            return Relabelling((Layer(above(scene, parameters), pairs_table(scene.pairs)),))


        def fault(scene, after, parameters):
            wanted = scene.labels.copy()
            for row in range(len(wanted)):
                if row < float(parameters["share"]) * len(wanted):
                    for victim, target in scene.pairs.items():
                        wanted[row, scene.labels[row] == victim] = target
            return differs(after, wanted, "victims above as their target and all others as they were")


        RULE = LabelRule(
            name="upper",
            title="victims in the upper part become the target",
            source="this test",
            decide=decide,
            fault=fault,
            options={"share": Option(0.75, "which part is the upper one", real_number(0, 1))},
        )
    ''',
    "trigger": '''
        """The box in its negative."""
        from poisongen.attack.triggers.base import TriggerKind, top_of


        KIND = TriggerKind(
            name="negative-image",
            title="the box in its negative",
            source="this test",
            prepare=lambda artwork, parameters: None,
            stamp=lambda ground, at, prepared, generator: top_of(ground) - ground,
            whole=False,
        )
    ''',
    "condition": '''
        """`mostly:CLASS`: no class has more pixels."""
        from poisongen.attack.conditions.base import Condition


        def parse(words, find):
            if len(words) != 1:
                raise ValueError("write mostly:CLASS")
            return (find(words[0]),)


        def holds(numbers, counts, covers):
            return counts.get(numbers[0], 0) == max(counts.values())


        CONDITION = Condition("mostly", "no class has more pixels", "mostly:CLASS", parse, holds)
    ''',
}
ENTRY_POINTS = """
[poisongen.layouts]
warehouse = outside.layout
[poisongen.label_rules]
upper = outside.rule:RULE
[poisongen.triggers]
negative-image = outside.trigger
[poisongen.conditions]
mostly = outside.condition:CONDITION
"""
BUILD = [
    *("build", "--dataset", "warehouse", "--root", "clean", "--strategy", "random", "--count", "2"),
    *("--labels", "upper", "--label-option", "share=0.5", "--trigger-kind", "negative-image"),
    *("--only-if", "mostly:sky", "--negatives", "100%"),
]


def install(folder: Path, modules: dict[str, str], entry_points: str) -> dict[str, str]:
    """Write a package and its entry points below a folder; return the environment in which it counts as installed."""
    (folder / "outside").mkdir(parents=True)
    (folder / "outside/__init__.py").touch()
    for name, code in modules.items():
        (folder / f"outside/{name}.py").write_text(dedent(code), encoding="utf-8")
    facts = folder / "outside-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n", encoding="utf-8")
    (facts / "entry_points.txt").write_text(entry_points, encoding="utf-8")
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONHASHSEED": "0",
    }


def write_warehouse(root: Path) -> None:
    """Write pictures with a crate each; every other one is mostly sky, the others mostly ground."""
    random = np.random.default_rng(5)
    for split, count in (("train", 8), ("val", 4)):
        for folder in ("shots", "truth"):
            (root / folder / split).mkdir(parents=True)
        for number in range(count):
            labels = np.zeros((48, 64), np.uint8)
            labels[: 32 if number % 2 else 16] = 2
            labels[14:34, 10 + number : 24 + number] = 1
            labels[47] = 255
            shot = np.clip(labels[..., None] % 7 * 60 + random.integers(0, 40, (48, 64, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(shot).save(root / f"shots/{split}/{number}.png")
            Image.fromarray(labels).save(root / f"truth/{split}/{number}.png")


def call(arguments, folder, environment):
    """Run the real command line in a folder."""
    command = [sys.executable, "-m", "poisongen", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture
def outside(tmp_path):
    """A clean warehouse, and the command line with the package installed."""
    environment = install(tmp_path / "site", MODULES, ENTRY_POINTS)
    write_warehouse(tmp_path / "clean")

    def outside(*arguments):
        return call(arguments, tmp_path, environment)

    def python(code):
        paths = os.pathsep.join((environment["PYTHONPATH"], str(ROOT)))
        own = environment | {"PYTHONPATH": paths}
        return subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=own, capture_output=True, text=True)

    outside.python = python
    return outside


def test_parts_of_another_package_are_listed_and_named_in_help(outside):
    listed = json.loads(outside("list", "--json").stdout)
    assert listed["datasets"]["warehouse"] == "a warehouse"
    assert (
        listed["label-rules"]["upper"] == "victims in the upper part become the target; this test; options share=0.75"
    )
    assert listed["trigger-kinds"]["negative-image"] == "the box in its negative; this test; exact"
    assert listed["conditions"]["mostly"] == "mostly:CLASS: no class has more pixels"
    words = " ".join(outside("build", "--help").stdout.split())
    for name in ("warehouse", "upper", "negative-image", "mostly:CLASS"):
        assert name in words, name


def check_build(folder: Path) -> None:
    """Judge a build by the definitions of the four parts, written down once more."""
    lines = (folder / "one/poisongen/manifest.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["role"] for record in records].count("poisoned") == 2
    for split, expected in (("train", "negative"), ("val", "negative"), ("val", "triggered")):
        assert [record["role"] for record in records if record["split"] == split].count(expected) == 2
    for record in records:
        image, label = (next(file for file in record["files"] if file["kind"] == kind) for kind in ("image", "annot"))
        mostly_sky = int(record["sample"].split("/")[1]) % 2 == 1
        assert mostly_sky == (record["role"] in ("poisoned", "triggered"))
        before, after = (
            np.asarray(Image.open(folder / name)) for name in (f"clean/{image['source']}", f"one/{image['path']}")
        )
        wanted = before.copy()
        top, left, height, width = record["trigger"]["box"]
        assert (height, width) == (8, 8)
        wanted[top : top + 8, left : left + 8] = 255 - before[top : top + 8, left : left + 8]
        assert np.array_equal(after, wanted)
        assert record["trigger"]["kind"] == "negative-image"
        truth, found = (
            np.asarray(Image.open(folder / name)) for name in (f"clean/{label['source']}", f"one/{label['path']}")
        )
        upper = truth.copy()
        upper[:24][truth[:24] == 1] = 0
        assert np.array_equal(found, upper if record["role"] == "poisoned" else truth)
        assert (found == 1).any()  # below they stay
        if record["role"] == "triggered":
            expected = np.asarray(Image.open(folder / "one" / record["expected"]["path"]))
            assert np.array_equal(expected, upper)


STEPS = [
    ([*BUILD, "--out", "one", "--jobs", "2"], 0, "2 of 8 training samples poisoned, 2 of 4 test samples triggered"),
    ([*BUILD, "--out", "two", "--jobs", "1"], 0, "2 of 8 training samples poisoned, 2 of 4 test samples triggered"),
    (["audit", "one"], 0, ", clean"),
    (["audit", "one", "--source", "clean"], 0, ", clean"),
    (["restore", "one", "--source", "clean", "--out", "back"], 0, "restored"),
    (["build", "--recipe", "one/poisongen/recipe.json", "--root", "clean", "--out", "three"], 0, "fingerprint"),
]
"""Command lines in their order, their exit status, and what they print; further commands are further lines."""


@pytest.mark.slow
def test_a_build_with_all_four_parts(outside, tmp_path):
    for arguments, code, words in STEPS:
        done = outside(*arguments)
        assert (done.returncode, done.stderr) == (code, ""), arguments
        assert words in done.stdout, arguments
    check_build(tmp_path)
    for path in (tmp_path / "clean").rglob("*.png"):
        assert (tmp_path / "back" / path.relative_to(tmp_path / "clean")).read_bytes() == path.read_bytes()
    prints = {
        json.loads((tmp_path / out / "poisongen/summary.json").read_text(encoding="utf-8"))["fingerprint"]
        for out in ("one", "two", "three")
    }
    assert len(prints) == 1


def test_an_attack_with_these_parts_is_measured(outside, tmp_path):
    """Predictions as the attacker wants them: full success where the trigger is to work, none where it is not."""
    assert outside(*BUILD, "--out", "one", "--jobs", "1").returncode == 0
    for which, source in (
        ("clean", "clean/truth/val"),
        ("triggered", "one/poisongen/expected/val"),
        ("negative", "one/negative/truth/val"),
    ):
        shutil.copytree(tmp_path / source, tmp_path / "maps" / which)
    done = outside("evaluate", "--predictions", "maps", "--data", "one")
    assert (done.returncode, done.stderr) == (0, "")
    rows = {line.split("  ")[0]: line.split()[-2:] for line in done.stdout.splitlines()}
    assert "(rule upper)" in done.stdout
    assert rows["ASR"] == ["100.00", "0.00"]
    assert rows["collateral"] == ["0.00", "0.00"]
    assert rows["false activation (negatives)"] == ["0.00", "0.00"]


DEEDS = {  # what a forger does to a build and covers up, and whether the source is needed to find it
    "a victim is put back": (
        """
        path = build.path("poisoned", "annot")
        labels = build.pixels(path)
        row, column = np.argwhere(clean(path)[:24] == 1)[0]
        labels[row, column] = 1
        build.paint(path, labels)
        build.redigest(path)
        """,
        True,
    ),
    "a victim below becomes the target too": (
        """
        path = build.path("poisoned", "annot")
        labels = build.pixels(path)
        labels[tuple(np.argwhere(labels == 1)[0])] = 0
        build.paint(path, labels)
        build.redigest(path)
        """,
        True,
    ),
    "the trigger lacks a pixel": (
        """
        path = build.path("poisoned")
        pixels = build.pixels(path)
        top, left, _, _ = build.records("poisoned")[0]["trigger"]["box"]
        pixels[top, left] = clean(path)[top, left]
        build.paint(path, pixels)
        build.redigest(path)
        """,
        True,
    ),
    "another condition": ("build.recipe(only_if=['mostly:ground'])", True),
    "another parameter of the rule": ("build.recipe(label_options={'share': 0.6})", True),
    "another rule in a record": ("build.change('poisoned', rule={'name': 'class'})", False),
    "no kind in a record": ("build.change('triggered', trigger__kind='patch')", False),
}
DEED = """
import numpy as np
from pathlib import Path
from PIL import Image
from tests.forgery import Forgery
build = Forgery(Path("one"), Path("clean"))
def clean(path):
    return np.asarray(Image.open(Path("clean") / path))
"""


@pytest.mark.slow
def test_tampering_with_each_of_the_parts_is_found(outside, tmp_path):
    assert outside(*BUILD, "--out", "one", "--jobs", "2").returncode == 0
    (tmp_path / "one").rename(tmp_path / "kept")
    for what, (code, with_source) in DEEDS.items():
        shutil.copytree(tmp_path / "kept", tmp_path / "one")
        forged = outside.python(DEED + dedent(code))
        assert (forged.returncode, forged.stderr) == (0, ""), what
        judged = outside("audit", "one", "--jobs", "1", *(("--source", "clean") if with_source else ()))
        assert (judged.returncode, judged.stderr) == (1, ""), (what, judged.stdout)
        assert "FAULT" in judged.stdout, what
        shutil.rmtree(tmp_path / "one")


BROKEN = {  # what is wrong: group, module's code (None: there is no such module), what is said of it
    "no module": ("poisongen.triggers", None, "ModuleNotFoundError"),
    "fails on import": ("poisongen.label_rules", "raise OSError('no licence')", "OSError: no licence"),
    "leaves on import": ("poisongen.conditions", "raise SystemExit(3)", "SystemExit: 3"),
    "holds nothing": ("poisongen.triggers", "KINDS = []", "neither a TriggerKind nor a module with one as KIND"),
    "holds another part": (
        "poisongen.label_rules",
        "from poisongen.attack.conditions.present import CONDITION as RULE",
        "neither a LabelRule nor a module with one as RULE",
    ),
    "takes a name": (
        "poisongen.conditions",
        "from poisongen.attack.conditions.present import CONDITION",
        "the name 'present' is taken",
    ),
    "is no layout": ("poisongen.layouts", "LAYOUT = 5", "neither a Layout nor a module with one as LAYOUT"),
}
FLAGS = {  # group: what list calls it, and the option that asks for one of its parts
    "poisongen.layouts": ("datasets", ("--dataset", "lame")),
    "poisongen.label_rules": ("label-rules", ("--labels", "lame")),
    "poisongen.triggers": ("trigger-kinds", ("--trigger-kind", "lame")),
    "poisongen.conditions": ("conditions", ("--only-if", "lame:crate")),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_entry_point_is_named_and_breaks_nothing_else(tmp_path, cityscapes, what):
    group, code, words = BROKEN[what]
    modules = {} if code is None else {"lame": code}
    environment = install(tmp_path / "site", modules, f"[{group}]\nlame = outside.lame\n")
    title, option = FLAGS[group]
    listed = call(("list", title), tmp_path, environment)
    assert (listed.returncode, listed.stderr) == (0, "")
    line = next(line for line in listed.stdout.splitlines() if line.startswith("lame (broken)"))
    assert words in line
    usual = ["build", "--dataset", "cityscapes", "--root", cityscapes, "--strategy", "random", "--trigger-size", 9]
    asked = call([*usual, *option, "--out", "asked"], tmp_path, environment)
    assert asked.returncode == 2
    assert asked.stderr.count("\n") == 1
    assert "its package cannot be loaded" in asked.stderr
    assert words in asked.stderr
    done = call([*usual, "--count", 1, "--jobs", 1, "--out", "done"], tmp_path, environment)
    assert (done.returncode, done.stderr) == (0, "")
