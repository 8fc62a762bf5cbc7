"""Tampering with the records of a build; `sealed`: all digests and fingerprints made to fit again."""

from __future__ import annotations

from poisongen.recipe.trigger_files import load_trigger
from tests.forgery import CAR, MANIFEST, RECIPE, ROAD, SIDEWALK, SKY, SUMMARY, case


@case()
def edited_record(forge):
    forge.change("poisoned", seal=False, victim_pixels=1, relabelled_pixels=1)
    return MANIFEST


@case()
def removed_line_sealed(forge):
    removed, *kept = forge.lines("manifest.jsonl")
    forge.write_lines("manifest.jsonl", kept)
    forge.seal()
    return removed["files"][0]["path"]


@case()
def reordered_manifest_sealed(forge):
    forge.write_lines("manifest.jsonl", forge.lines("manifest.jsonl")[::-1])
    forge.seal()
    return MANIFEST


@case()
def line_twice_sealed(forge):
    first, *rest = forge.lines("manifest.jsonl")
    forge.write_lines("manifest.jsonl", [first, first, *rest])
    forge.seal()
    return MANIFEST


@case()
def changed_rate_sealed(forge):
    forge.recipe(rate=0.5)
    return SUMMARY


@case()
def changed_seed_sealed(forge):
    forge.recipe(seed=9)
    return MANIFEST


@case()
def changed_recipe(forge):
    forge.write_json("recipe.json", forge.json("recipe.json") | {"max_distance": 29.0})
    return RECIPE


@case()
def open_choice_in_recipe_sealed(forge):
    forge.recipe(pick=None)
    return RECIPE


@case()
def changed_pairs_sealed(forge):
    forge.recipe(relabel={"building": "road"})
    return forge.path("poisoned", "labelIds")


@case()
def replaced_trigger_sealed(forge):
    forge.recipe(trigger=load_trigger("flower").model_dump())
    return forge.path("poisoned")


@case()
def trigger_without_its_digest_sealed(forge):
    trigger = forge.json("recipe.json")["trigger"]
    forge.recipe(trigger=trigger | {"sha256": "0" * 64})
    return RECIPE


@case()
def moved_box_sealed(forge):
    top, left, height, width = forge.records("triggered")[0]["trigger"]["box"]
    box, centre = [top - 3, left, height, width], [top - 3 + height // 2, left + width // 2]
    forge.change("triggered", trigger__box=box, trigger__center=centre)
    return forge.path("triggered")


@case()
def box_outside_the_image_sealed(forge):
    forge.change("poisoned", trigger__box=[10**9, 10**9, 9, 9], trigger__center=[10**9 + 4, 10**9 + 4])
    return forge.path("poisoned")


@case()
def box_of_another_size_sealed(forge):
    top, left, _, _ = forge.records("poisoned")[0]["trigger"]["box"]
    forge.change("poisoned", trigger__box=[top, left, 8, 8])
    return MANIFEST


@case()
def centre_beside_the_box_sealed(forge):
    row, column = forge.records("poisoned")[0]["trigger"]["center"]
    forge.change("poisoned", trigger__center=[row + 1, column])
    return MANIFEST


@case()
def other_distance_sealed(forge):
    forge.change("triggered", trigger__distance=forge.records("triggered")[0]["trigger"]["distance"] + 1)
    return forge.path("triggered")


@case(source=True)
def other_distance_of_a_poisoned_sample_sealed(forge):
    forge.change("poisoned", trigger__distance=forge.records("poisoned")[0]["trigger"]["distance"] + 1)
    return forge.path("poisoned")


@case()
def distance_out_of_bounds_sealed(forge):
    forge.change("poisoned", trigger__distance=31.0)
    return MANIFEST


@case()
def other_eligible_positions_sealed(forge):
    forge.change("triggered", eligible_positions=forge.records("triggered")[0]["eligible_positions"] - 1)
    return forge.path("triggered")


@case()
def victim_under_the_box_sealed(forge):
    forge.change("poisoned", trigger__covers=[CAR])
    return MANIFEST


@case()
def two_classes_under_the_box_sealed(forge):
    forge.change("poisoned", trigger__covers=[ROAD, SIDEWALK])
    return MANIFEST


@case()
def other_class_under_the_box_sealed(forge):
    forge.change("triggered", trigger__covers=[SKY])
    return forge.path("triggered")


@case("prl")
def poisoned_sample_called_prl_sealed(forge):
    forge.change("poisoned", role="prl")
    return MANIFEST


@case()
def other_split_sealed(forge):
    forge.change("triggered", split="train")
    return MANIFEST


@case()
def fewer_relabelled_pixels_sealed(forge):
    forge.change("poisoned", relabelled_pixels=1)
    return MANIFEST


@case(source=True)
def other_victim_pixels_sealed(forge):
    forge.change("poisoned", victim_pixels=77, relabelled_pixels=77)
    return forge.path("poisoned")


@case()
def random_labels_without_prl_sealed(forge):
    forge.change("poisoned", prl_pixels=5)
    return MANIFEST


@case("prl", source=True)
def fewer_random_labels_sealed(forge):
    forge.change("prl", prl_pixels=199)
    return forge.path("prl", "labelIds")


@case()
def passed_over_line_added_sealed(forge):
    sample = forge.records("poisoned")[0]["sample"]
    skip = {"sample": sample, "split": "train", "role": "poisoned", "reason": "no eligible position"}
    forge.write_lines("skipped.jsonl", [skip])
    forge.seal()
    return "poisongen/skipped.jsonl"


@case()
def passed_over_for_no_reason_sealed(forge):
    skip = {"sample": "train/a/b", "split": "train", "role": "poisoned", "reason": "I did not like it"}
    forge.write_lines("skipped.jsonl", [skip])
    forge.seal()
    return "poisongen/skipped.jsonl"


@case()
def sound_sample_called_bad_sealed(forge):
    path = next(link["path"] for link in forge.lines("links.jsonl") if link["path"].startswith("leftImg8bit/train/"))
    sample = path.removeprefix("leftImg8bit/").removesuffix("_leftImg8bit.png")
    skip = {"sample": sample, "split": "train", "reason": "bad file", "file": path, "problem": "I say so"}
    forge.write_lines("skipped.jsonl", [skip])
    forge.recipe(skip_bad=True)
    return path


@case()
def other_count_in_the_summary(forge):
    summary = forge.json("summary.json")
    forge.write_json("summary.json", summary | {"counts": summary["counts"] | {"train_candidates": 3}})
    return SUMMARY


@case()
def other_fingerprint(forge):
    forge.write_json("summary.json", forge.json("summary.json") | {"fingerprint": "0" * 64})
    return SUMMARY


@case()
def link_entry_removed_sealed(forge):
    removed, *kept = forge.lines("links.jsonl")
    forge.write_lines("links.jsonl", kept)
    forge.seal()
    return removed["path"]


@case()
def link_entry_of_another_source_sealed(forge):
    first, second, *rest = forge.lines("links.jsonl")
    forge.write_lines("links.jsonl", [first | {"source": second["path"]}, second, *rest])
    forge.seal()
    return first["path"]


@case()
def links_in_another_order_sealed(forge):
    forge.write_lines("links.jsonl", forge.lines("links.jsonl")[::-1])
    forge.seal()
    return "poisongen/links.jsonl"


@case()
def poisoned_sample_made_clean_sealed(forge):
    record = forge.records("poisoned")[0]
    forge.unpoison(record)
    return record["sample"]


@case()
def record_of_a_sample_that_is_not_there_sealed(forge):
    forge.change("poisoned", sample="train/aa/bb")
    return forge.path("poisoned")


@case()
def other_size_in_a_record_sealed(forge):
    lines = forge.lines("manifest.jsonl")
    lines[0]["files"][0]["size"] += 1
    forge.write_lines("manifest.jsonl", lines)
    forge.seal()
    return lines[0]["files"][0]["path"]
