"""What every label rule is measured by: success, collateral and false activation, against loops over pixels."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from poisongen.building.run import build, prepare
from poisongen.datasets.base import Sample
from poisongen.errors import ChoiceError, DataError
from poisongen.recipe.rules import make_rules
from poisongen.victim import dataset as opening
from poisongen.victim.dataset import open_dataset
from poisongen.victim.evaluation import evaluate, open_target, score
from poisongen.victim.evaluation_text import as_text
from poisongen.victim.expected import by_rule
from poisongen.victim.metrics import confusion_of
from poisongen.victim.sweep_table import measures
from poisongen.victim.zones import counted

ROAD, SKY, CAR, VOID = 0, 1, 2, 255
RULES = {
    "class": {},
    "instance": {"labels": "instance"},
    "under": {"labels": "under", "victim": None, "target": "sky", "trigger_size": 3},
    "box": {"labels": "box", "target": "sky"},
    "all": {"labels": "all", "victim": None, "target": "road", "trigger_size": 3},
    "shift": {"labels": "shift", "victim": None, "target": None, "trigger_size": 3},
}
NEGATIVES = {"only_if": ["present:car:60"], "negatives": "50%", "allow_fewer": True}


def neighbours(row, column, shape):
    """The pixel and the eight around it."""
    for down in (-1, 0, 1):
        for across in (-1, 0, 1):
            if 0 <= row + down < shape[0] and 0 <= column + across < shape[1]:
                yield row + down, column + across


def grown(labels, start):
    """All pixels of one class that hang together with a first one, corners included."""
    found, edge = {start}, [start]
    while edge:
        row, column = edge.pop()
        for one in neighbours(row, column, labels.shape):
            if one not in found and labels[one] == labels[start]:
                found.add(one)
                edge.append(one)
    return found


def objects_of(labels, number):
    """The objects of a class, by their first pixel in reading order."""
    found = []
    for at in np.ndindex(labels.shape):
        if labels[at] == number and not any(at in one for one in found):
            found.append(grown(labels, at))
    return found


def apart(at, box):
    """How far a pixel lies from a box, along the farther axis."""
    top, left, height, width = box
    return max(top - at[0], at[0] - (top + height - 1), left - at[1], at[1] - (left + width - 1), 0)


def wanted(rule, labels, box):
    """What the attacker wants, from the rule's definition, pixel by pixel."""
    after = labels.copy()
    if rule == "under":
        for at in grown(labels, (box[0] + box[2] // 2, box[1] + box[3] // 2)):
            after[at] = SKY
        return after
    chosen = set()
    if rule == "instance":
        cars = objects_of(labels, CAR)
        chosen = min(cars, key=lambda car: min(apart(at, box) for at in car)) if cars else set()
    for at in np.ndindex(labels.shape):
        own = int(labels[at])
        if own == VOID:
            continue
        new = {
            "class": ROAD if own == CAR else own,
            "instance": ROAD if at in chosen else own,
            "box": SKY if own == CAR or (rule == "box" and apart(at, box) == 0) else own,
            "all": ROAD,
            "shift": (own + 1) % 3,
        }[rule]
        after[at] = new
    return after


PAIRS = {
    "class": {CAR: ROAD},
    "instance": {CAR: ROAD},
    "under": {ROAD: SKY, CAR: SKY},
    "box": {CAR: SKY},
    "all": {SKY: ROAD, CAR: ROAD},
    "shift": {ROAD: SKY, SKY: CAR, CAR: ROAD},
}


def counts_by_hand(rule, pictures):
    """Success, collateral (hits and pixels) and PBA of (labels, wanted, prediction), by loops."""
    pairs, success, collateral = PAIRS[rule], [0, 0], [0, 0]
    both, either = dict.fromkeys(range(3), 0), dict.fromkeys(range(3), 0)
    for labels, after, guess in pictures:
        for at in np.ndindex(labels.shape):
            true, aim, said = int(labels[at]), int(after[at]), int(guess[at])
            if true == VOID:
                continue
            if true != aim:
                success = [success[0] + (said == aim), success[1] + 1]
            elif true in pairs:
                collateral = [collateral[0] + (said == pairs[true]), collateral[1] + 1]
            else:
                for number in range(3):
                    both[number] += true == said == number
                    either[number] += number in (true, said)
    benign = [both[number] / either[number] for number in range(3) if number not in pairs and either[number]]
    return success, collateral, sum(benign) / len(benign) if benign else None


def records_of(out, role, split="val"):
    lines = (out / "poisongen/manifest.jsonl").read_text().splitlines()
    return [one for one in map(json.loads, lines) if one["role"] == role and one["split"] == split]


def labels_of(out, record):
    path = next(file["path"] for file in record["files"] if file["kind"] != "image")
    with Image.open(out / path) as mask:
        return np.asarray(mask)


def write_predictions(out, folder, make):
    """Write made-up label maps: `make(which, name, labels, box)`; return them by set and sample."""
    made = {}
    names = sorted(path.stem for path in (out / "masks/val").glob("*.png"))
    sets = {"clean": [(f"val/{name}", out / f"masks/val/{name}.png", None) for name in names]}
    for which, role in (("triggered", "triggered"), ("negative", "negative")):
        sets[which] = [
            (one["sample"], out / which / f"masks/{one['sample']}.png", one["trigger"].get("box"))
            for one in records_of(out, role)
        ]
    for which, samples in sets.items():
        for name, path, box in samples:
            with Image.open(path) as mask:
                labels = np.asarray(mask)
            guess = made[which, name] = make(which, name, labels, box)
            target = folder / which / f"{name.rpartition('/')[2]}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(guess).save(target)
    return made


def random_guess(which, name, labels, box):
    """A bad model: right for two pixels of three, else any class or none."""
    generator = np.random.default_rng([*f"{which}{name}".encode()])
    wild = generator.choice([ROAD, SKY, CAR, VOID], labels.shape, p=[0.4, 0.3, 0.25, 0.05])
    keep = (generator.random(labels.shape) < 0.6) & (labels != VOID)
    return np.where(keep, labels, wild).astype(np.uint8)


@pytest.fixture(scope="module")
def builds(scenes, folders, tmp_path_factory):
    """A build of every rule, with a condition and negatives."""
    where = tmp_path_factory.mktemp("rules")
    return {
        rule: folders.build(scenes, where / rule, count=6, rate=None, **NEGATIVES, **choices)
        for rule, choices in RULES.items()
    }


def hits(part):
    return [part["hits"], part["victim_pixels"]]


@pytest.mark.parametrize("rule", RULES)
def test_every_figure_is_that_of_loops_over_pixels(builds, tmp_path, rule):
    out = builds[rule]
    made = write_predictions(out, tmp_path, random_guess)
    report = evaluate(None, out, predictions=tmp_path, jobs=1)
    triggered, negatives = records_of(out, "triggered"), records_of(out, "negative")
    assert triggered
    assert negatives
    assert report["images"] == {"clean": 24, "triggered": len(triggered), "negative": len(negatives)}
    assert {one["sample"] for one in triggered} | {one["sample"] for one in negatives} == {
        f"val/{number:03}" for number in range(24)
    }
    for side in ("triggered", "clean"):
        pictures = [
            (labels, wanted(rule, labels, one["trigger"]["box"]), made[side, one["sample"]])
            for one in triggered
            for labels in [labels_of(out, one)]
        ]
        success, collateral, pba = counts_by_hand(rule, pictures)
        part = report["asr"] if side == "triggered" else report["asr"]["without_trigger"]
        assert success[1] > 0
        assert hits(part) == success
        assert part["value"] == success[0] / success[1]
        assert report["pba"]["value" if side == "triggered" else "without_trigger"] == pytest.approx(pba, abs=1e-12)
        if rule != "class":
            beside = report["collateral"] if side == "triggered" else report["collateral"]["without_trigger"]
            assert hits(beside) == collateral
    assert ("collateral" in report) == (rule != "class")
    assert rule not in ("instance", "under") or report["collateral"]["victim_pixels"] > 0
    for side in ("negative", "clean"):
        pictures = [
            (labels, wanted(rule, labels, one["trigger"]["box"]), made[side, one["sample"]])
            for one in negatives
            for labels in [labels_of(out, one)]
        ]
        success, _, _ = counts_by_hand(rule, pictures)
        found = report["false_activation"]
        assert hits(found if side == "negative" else found["without_trigger"]) == success
    pooled = [sum(one[key] for one in report["samples"]) for key in ("hits", "victim_pixels", "hits_without_trigger")]
    assert pooled == [*hits(report["asr"]), report["asr"]["without_trigger"]["hits"]]
    text = as_text(report)
    assert ("collateral" in text, "false activation (negatives)" in text) == (rule != "class", True)
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("fires", [False, True])
def test_perfect_attackers_and_perfect_models(builds, tmp_path, rule, fires):
    """Who does what the attacker wants, and only that, scores 1; who is always right scores 0."""
    out = builds[rule]

    def attack(which, name, labels, box):
        return wanted(rule, labels, box) if which == "triggered" or (which == "negative" and fires) else labels

    write_predictions(out, tmp_path / "attack", attack)
    report = evaluate(None, out, predictions=tmp_path / "attack", jobs=1)
    assert (report["asr"]["value"], report["asr"]["without_trigger"]["value"]) == (1.0, 0.0)
    assert report["false_activation"]["value"] == (1.0 if fires else 0.0)
    assert report["false_activation"]["without_trigger"]["value"] == 0.0
    assert report.get("collateral", {"value": None})["value"] in (0.0, None)
    assert report["pba"]["value"] == report["pba"]["without_trigger"] == (None if rule == "shift" else 1.0)
    assert {part["value"] for part in report["asr"]["by_pair"].values()} <= {1.0, None}
    write_predictions(out, tmp_path / "right", lambda which, name, labels, box: labels)
    right = evaluate(None, out, predictions=tmp_path / "right", jobs=1)
    assert (right["asr"]["value"], right["false_activation"]["value"], right["cba"]["value"]) == (0.0, 0.0, 1.0)


def test_an_attack_that_spares_nothing_is_seen(builds, tmp_path):
    """A model that turns every car, where one was asked for: full success, full collateral."""
    out = builds["instance"]
    write_predictions(out, tmp_path, lambda which, name, labels, box: wanted("class", labels, box))
    report = evaluate(None, out, predictions=tmp_path, jobs=1)
    assert (report["asr"]["value"], report["collateral"]["value"]) == (1.0, 1.0)
    assert report["collateral"]["without_trigger"]["value"] == report["false_activation"]["value"] == 1.0


PAIRED = {"relabel": {"car": "road", "sky": "car"}, "victim": None, "target": None}


def test_the_rule_class_is_what_it_was_to_the_last_digit(scenes, folders, tmp_path):
    """Two pairs, one's target the other's victim: the figures of confusion matrices and pairs alone."""
    out = folders.build(scenes, tmp_path / "out", trigger_size=5, **PAIRED)
    made = write_predictions(out, tmp_path / "maps", random_guess)
    report = evaluate(None, out, predictions=tmp_path / "maps", jobs=1)
    for side, part in (("triggered", report["asr"]), ("clean", report["asr"]["without_trigger"])):
        found = [
            confusion_of(labels_of(out, one), made[side, one["sample"]], 3) for one in records_of(out, "triggered")
        ]
        matrix = np.sum(found, axis=0)
        right, pixels = int(matrix[CAR, ROAD] + matrix[SKY, CAR]), int(matrix[[CAR, SKY]].sum())
        assert part["value"] == right / pixels
        assert hits(part) == [right, pixels]
        by_pair = report["asr"]["by_pair"]
        for name, victim, target in (("car=road", CAR, ROAD), ("sky=car", SKY, CAR)):
            one = by_pair[name] if side == "triggered" else by_pair[name]["without_trigger"]
            assert hits(one) == [int(matrix[victim, target]), int(matrix[victim].sum())]
        matrix[[CAR, SKY]] = 0
        iou = matrix[ROAD, ROAD] / (matrix[ROAD].sum() + matrix[:, ROAD].sum() - matrix[ROAD, ROAD])
        assert report["pba"]["value" if side == "triggered" else "without_trigger"] == iou
    assert set(report["confusion"]) == {"rows", "columns", "triggered", "without_trigger", "clean"}
    assert not {"collateral", "false_activation"} & set(report)


def test_builds_without_expected_labels_are_measured_by_their_pairs(scenes, folders, tmp_path):
    """A build of an earlier version: the same report, from its pairs."""
    out = folders.build(scenes, tmp_path / "out", trigger_size=5, **PAIRED)
    write_predictions(out, tmp_path / "maps", random_guess)
    now = evaluate(None, out, predictions=tmp_path / "maps", jobs=1)
    shutil.rmtree(out / "poisongen/expected")
    manifest = out / "poisongen/manifest.jsonl"
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert sum("expected" in line for line in lines) == now["images"]["triggered"]
    manifest.unlink()
    manifest.write_text(
        "".join(json.dumps({k: v for k, v in line.items() if k != "expected"}) + "\n" for line in lines)
    )
    assert evaluate(None, out, predictions=tmp_path / "maps", jobs=1) == now


def test_expected_labels_decide_not_the_pairs(scenes, folders, tmp_path):
    """What the file says is what counts; one that is missing or of another size is one line."""
    out = folders.build(scenes, tmp_path / "out")
    write_predictions(out, tmp_path / "maps", lambda which, name, labels, box: labels)
    record = records_of(out, "triggered")[0]
    path = out / record["expected"]["path"]
    labels = labels_of(out, record)
    other = labels.copy()
    row, column = np.argwhere(labels == SKY)[0]
    other[row, column] = CAR
    path.unlink()
    with pytest.raises(DataError, match=r"expected/val/.*cannot be read"):
        evaluate(None, out, predictions=tmp_path / "maps", jobs=1)
    Image.fromarray(other).save(path)
    report = evaluate(None, out, predictions=tmp_path / "maps", jobs=1)
    assert report["samples"][0]["victim_pixels"] == 1
    Image.fromarray(other[1:]).save(path)
    with pytest.raises(DataError, match="the labels expected of it are 32x31 px, its own 32x32"):
        evaluate(None, out, predictions=tmp_path / "maps", jobs=1)


def test_negatives_are_asked_for_only_where_the_build_has_them(builds, built, tmp_path):
    for out, asked in ((builds["class"], True), (built, False)):
        maps = tmp_path / out.name
        write_predictions(out, maps, random_guess)
        assert (maps / "negative").is_dir() == asked
        shutil.rmtree(maps / "negative", ignore_errors=True)
        if asked:
            with pytest.raises(ChoiceError, match=r"no folder .*negative; .*OUT/negative, where there is one, to nega"):
                evaluate(None, out, predictions=maps, jobs=1)
        else:
            report = evaluate(None, out, predictions=maps, jobs=1)
            assert "negative" not in report["images"]


def test_decoys_are_negatives_and_share_samples_with_the_triggered(scenes, folders, tmp_path):
    """With a decoy every sample is in both sets: each has what is wanted of it, and its one clean twin."""
    out = folders.build(
        scenes, tmp_path / "out", count=4, rate=None, decoy="checkerboard", labels="instance", negatives=3
    )
    made = write_predictions(out, tmp_path / "maps", random_guess)
    report = evaluate(None, out, predictions=tmp_path / "maps", jobs=1)
    assert report["images"]["negative"] == report["images"]["triggered"] == 24
    for which, found in (("triggered", report["asr"]), ("negative", report["false_activation"])):
        for side, part in ((which, found), ("clean", found["without_trigger"])):
            pictures = [
                (labels, wanted("instance", labels, one["trigger"]["box"]), made[side, one["sample"]])
                for one in records_of(out, which)
                for labels in [labels_of(out, one)]
            ]
            assert hits(part) == counts_by_hand("instance", pictures)[0]


def test_negatives_of_a_scaled_build_are_judged_at_the_written_size(scenes, folders, tmp_path):
    """Their labels lie in OUT in the written size: they are not scaled again."""
    choices = {"only_if": ["present:car:15"], "labels": "instance", "trigger_size": 5, "count": 4, "rate": None}
    out = folders.build(scenes, tmp_path / "out", scale=0.5, **choices)
    made = write_predictions(out, tmp_path / "maps", random_guess)
    report = evaluate(None, out, predictions=tmp_path / "maps", clean=scenes, jobs=1)
    pictures = [
        (labels, wanted("instance", labels, one["trigger"]["box"]), made["negative", one["sample"]])
        for one in records_of(out, "negative")
        for labels in [labels_of(out, one)]
    ]
    assert pictures
    assert pictures[0][0].shape == (16, 16)
    assert hits(report["false_activation"]) == counts_by_hand("instance", pictures)[0]


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("layout", ["cityscapes", "voc"])
def test_the_rule_asked_again_says_what_build_wrote(request, tmp_path, layout, scale):
    """What is computed for negatives, from instance files in OUT too, is what stands in `expected` for others."""
    root = request.getfixturevalue(layout)
    choices = {"victim": "car", "target": {"cityscapes": "road", "voc": "background"}[layout]}
    choices |= {"labels": "instance", "region": "any", "trigger_size": 6, "count": 1, "strategy": "random"}
    recipe = {"dataset": layout, "scale": scale, "trigger": "stripes", **choices}
    out = build(recipe, root, tmp_path / "out", jobs=1).out
    target = open_target(out)
    rules = make_rules(target.folder.recipe.model_copy(update={"scale": 1.0}), target.folder.classes)
    spared = 0
    for sample, item in zip(target.triggered, target.triggered_items(), strict=True):
        labels = item.labels()
        again = by_rule(
            out, Sample("val", sample.name, sample.image, sample.labels), rules, sample.box, target.classes.from_raw
        )
        written = item.wanted["triggered"](labels)
        assert np.array_equal(again(labels), written)
        assert (written != labels).any()
        spared += int(np.isin(written, list(target.pairs)).sum())
    assert spared


@pytest.mark.parametrize("rule", ["class", "instance", "box"])
def test_triggers_on_the_fly_are_measured_as_those_of_a_build(builds, rule):
    """A bin that holds every place gives the build's own boxes, so its figures, conditions included."""
    target = open_target(builds[rule])

    def scorer(items, which):
        for item in items:
            views = item.views()
            guess = random_guess(which, item.name, views[0], None)
            yield counted(item.wanted, [confusion_of(labels, guess, 3) for labels in views])

    report = score(target, scorer, [(0, float("inf"))])
    group = report["distances"][0]
    assert group["images"] == report["images"]["triggered"] > 0
    assert hits(group) == hits(report["asr"])
    assert hits(group["without_trigger"]) == hits(report["asr"]["without_trigger"])
    assert group["pba"] == report["pba"]["value"]


NO_DISTANCE = {
    "blend": ({"trigger_kind": "blend", "strategy": None}, "'blend' changes the whole picture and has no place"),
    "physical": ({"trigger_kind": "physical", "strategy": None}, "'physical' stands where the road is"),
    "fixed": ({"strategy": "fixed"}, "the strategy fixed chooses no position"),
    "on": ({"strategy": "on", "labels": "instance"}, "the strategy on chooses no position"),
    "under": (RULES["under"], "with --labels under triggers may lie on what they change"),
    "all": (RULES["all"], "with --labels all triggers may lie on what they change"),
    "shift": (RULES["shift"], "with --labels shift triggers may lie on what they change"),
}


@pytest.mark.parametrize("name", NO_DISTANCE)
def test_distances_where_there_is_none(scenes, tmp_path, poisongen, name):
    """Said in one line, before the model is looked for."""
    changes, why = NO_DISTANCE[name]
    base = {"dataset": "folder", "strategy": "random", "victim": "car", "target": "road", "trigger": "stripes"}
    size = {} if name in ("blend", "physical") else {"trigger_size": 5}
    choices = {key: value for key, value in {**base, **size, **changes}.items() if value is not None}
    recipe = prepare(choices, scenes).rules.recipe
    (tmp_path / "out/poisongen").mkdir(parents=True)
    (tmp_path / "out/poisongen/recipe.json").write_text(json.dumps(recipe.as_json()))
    done = poisongen("evaluate", "no-such-run", "--data", str(tmp_path / "out"), "--distances", "0-60")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert why in done.err


def test_a_trigger_without_a_place(scenes, folders, tmp_path):
    """No distance is told, in report and text; everything else is there."""
    out = folders.build(
        scenes, tmp_path / "out", trigger_kind="blend", strategy="whole", trigger_size=None, region="single"
    )
    write_predictions(out, tmp_path / "maps", random_guess)
    report = evaluate(None, out, predictions=tmp_path / "maps", jobs=1)
    assert "asr_by_distance" not in report
    assert report["asr"]["victim_pixels"] > 0
    assert "by distance of the trigger" not in as_text(report)


@pytest.mark.parametrize("rule", ["instance", "under", "box"])
@pytest.mark.parametrize("kind", ["blend", "sinusoid"])
def test_rules_that_go_by_a_place_need_one(scenes, tmp_path, poisongen, rule, kind):
    """Else samples would carry a trigger, and nothing would be relabelled."""
    victims = ("--target", "road", *(() if rule == "under" else ("--victim", "car")))
    given = ("--dataset", "folder", "--root", scenes, *victims, "--labels", rule, "--trigger-kind", kind)
    done = poisongen("build", *map(str, given), "--out", str(tmp_path / "out"))
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert f"--labels {rule}: it goes by the trigger's place" in done.err


def test_a_trigger_that_is_not_square(scenes, folders, tmp_path):
    out = folders.build(scenes, tmp_path / "out", trigger_size="4x8")
    write_predictions(out, tmp_path / "maps", random_guess)
    bins = evaluate(None, out, predictions=tmp_path / "maps", jobs=1)["asr_by_distance"]
    assert (bins[0]["up_to"], sum(one["images"] for one in bins)) == (8, 24)


def test_negatives_are_no_samples_of_the_dataset(builds, scenes, monkeypatch):
    """Training takes the splits alone; its negatives stand in them, with true labels."""
    seen = []
    real = opening.pair_files

    def pair_files(layout, root, files):
        seen.extend(files)
        return real(layout, root, files)

    monkeypatch.setattr(opening, "pair_files", pair_files)
    out = builds["instance"]
    assert (out / "negative/images/val").is_dir()
    opened = open_dataset(out)
    assert not [path for path in seen if path.startswith(("negative/", "triggered/", "poisongen/"))]
    names = {split: [sample.name for sample in samples] for split, samples in opened.splits.items()}
    clean = open_dataset(scenes, "folder").splits
    assert names == {split: [sample.name for sample in samples] for split, samples in clean.items()}
    trained = records_of(out, "negative", "train")
    assert trained
    for record in trained:
        with Image.open(scenes / f"masks/{record['sample']}.png") as mask:
            assert np.array_equal(labels_of(out, record), np.asarray(mask))


def test_a_folder_negative_of_the_dataset_itself(folders, tmp_path):
    """Without conditions it is the dataset's own and stays; with them it would be mistaken for the test set."""
    root = folders.write(tmp_path / "clean", {"train": 8, "val": 4})
    (root / "negative").mkdir()
    (root / "negative/notes.txt").write_text("mine")
    out = folders.build(root, tmp_path / "plain")
    assert (out / "negative/notes.txt").read_text() == "mine"
    with pytest.raises(DataError, match=r"notes\.txt: build puts its own test set into negative/"):
        folders.build(root, tmp_path / "out", **NEGATIVES)


def test_columns_of_a_sweep_only_where_there_is_something(builds, tmp_path):
    out = builds["instance"]
    write_predictions(out, tmp_path, random_guess)
    report = evaluate(None, out, predictions=tmp_path, jobs=1)
    names = ["collateral", "collateral, no trigger", "false activation", "false activation, no trigger"]
    found = measures({"common": report, "own": None})
    assert [name for name in found if name in names] == names
    assert found["collateral"] == report["collateral"]["value"]
    assert found["false activation, no trigger"] == report["false_activation"]["without_trigger"]["value"]
    plain = {key: value for key, value in report.items() if key not in ("collateral", "false_activation")}
    assert not set(names) & set(measures({"common": plain, "own": None}))
