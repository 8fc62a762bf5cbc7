"""`train`: from a dataset's folder and settings to a model in a folder."""

from __future__ import annotations

from pathlib import Path

from poisongen.parallel import job_count
from poisongen.victim.batches import CacheMode, choose_cache, open_batches
from poisongen.victim.dataset import open_dataset
from poisongen.victim.device import PRECISIONS, describe, operation_errors, pick_device, set_precision
from poisongen.victim.distributed import find_crew, joined
from poisongen.victim.memory import memory_errors
from poisongen.victim.plan import make_plan
from poisongen.victim.run import Run, TrainResult
from poisongen.victim.run_log import disk_errors, speaker
from poisongen.victim.settings import Settings


def train(
    folder: Path | str,
    out: Path | str,
    settings: Settings,
    *,
    layout: str | None = None,
    resume: bool = False,
    stop_after: int | None = None,
    cache: CacheMode | None = None,
    device: str | None = None,
    jobs: int | None = None,
    tensorboard: bool = False,
    progress: bool = False,
) -> TrainResult:
    """Train a model on a dataset that build wrote, or on a clean one of a known layout, and write it to `out`.

    `out` gets checkpoint.pt and log.jsonl (one line for each epoch). With `resume` a run that was cut short goes on;
    on the CPU it ends with the very weights of an uninterrupted one. `stop_after` ends this call after so many
    iterations, to be resumed. PoisongenError says what is wrong with data, settings, device or an earlier run there.
    """
    crew = find_crew()
    progress = progress and crew.leads
    say = speaker(progress)
    chosen = pick_device(device, crew.local_rank)
    out = Path(out)
    set_precision(chosen, settings.deterministic)
    plan = make_plan(open_dataset(Path(folder), layout), settings, crew, chosen, job_count(jobs))
    with disk_errors(out), operation_errors(chosen), memory_errors(chosen), joined(crew, chosen):
        run = Run(plan, out, say, progress, resume)
        run.start(resume)
        mode, where = choose_cache(cache, plan.source.bytes, chosen, crew)
        precision = PRECISIONS[plan.precision]
        say(f"{plan.spec} on {describe(chosen)}, {precision}; {len(plan.source.samples)} pictures, {where}")
        batches, present = open_batches(plan.source, mode, chosen, job_count(jobs), progress, crew)
        missing = [name for index, name in enumerate(plan.classes.names) if present and index not in present]
        if missing:
            say(f"no pixel of '{settings.train_split}' is {', '.join(missing)}: the model cannot learn that")
        return run.go(batches, stop_after, tensorboard)
