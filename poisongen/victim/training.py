"""`train`: from a dataset's folder and settings to a model in a folder."""

from __future__ import annotations

from pathlib import Path

from poisongen.parallel import job_count
from poisongen.printing import number_of
from poisongen.victim.batches import Batches, CacheMode, choose_cache, open_batches
from poisongen.victim.dataset import open_dataset
from poisongen.victim.device import PRECISIONS, describe, operation_errors, pick_device, set_precision
from poisongen.victim.distributed import find_crew, joined
from poisongen.victim.interruption import TrainingInterrupted, watching, what_is_left
from poisongen.victim.loading_errors import loading_errors
from poisongen.victim.memory import memory_errors
from poisongen.victim.plan import Plan, make_plan
from poisongen.victim.run import Run, TrainResult
from poisongen.victim.run_log import Say, disk_errors, require_outside, speaker
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
    iterations, to be resumed. Ctrl-C, SIGTERM and SIGHUP end it after the step in hand: the checkpoint is written and
    TrainingInterrupted (a KeyboardInterrupt) says how to go on; a second one ends it at once. PoisongenError says what
    is wrong with data, settings, device or an earlier run there.
    """
    crew = find_crew()
    out = Path(out)
    say = speaker(progress and crew.leads)
    with watching(ignoring=not crew.leads) as interruption:
        try:
            chosen = pick_device(device, crew.local_rank)
            set_precision(chosen, settings.deterministic)
            require_outside(out, Path(folder))
            plan = make_plan(open_dataset(Path(folder), layout), settings, crew, chosen, job_count(jobs))
            with (
                disk_errors(out),
                loading_errors(),
                operation_errors(chosen),
                memory_errors(chosen),
                joined(crew, chosen),
            ):
                run = Run(plan, out, say, progress and crew.leads, resume)
                run.start(resume)
                batches = _batches(plan, cache, job_count(jobs), say, progress and crew.leads)
                run.stopping = interruption.stopping
                with interruption.noted(say):
                    result = run.go(batches, stop_after, tensorboard)
        except KeyboardInterrupt:
            raise TrainingInterrupted(what_is_left(out, resume)) from None
        except RuntimeError:
            if crew.leads or not interruption.come:
                raise
            raise TrainingInterrupted(what_is_left(out, resume)) from None  # the first process has saved and gone
    if interruption.asked and result.iterations < result.planned:
        raise TrainingInterrupted(
            f"interrupted after {result.iterations} of {result.planned} iterations, which {result.checkpoint} holds; "
            f"the same command{'' if resume else ' with --resume'} goes on"
        )
    return result


def _batches(plan: Plan, cache: CacheMode | None, jobs: int, say: Say, progress: bool) -> Batches:
    """Read the training set, or make ready to, and say where it is kept and what it lacks."""
    plan.content  # noqa: B018  digested now: the first checkpoint may be one that has to be written fast
    mode, where = choose_cache(cache, plan.source.bytes, plan.device, plan.crew)
    precision = PRECISIONS[plan.precision]
    pictures = number_of(len(plan.source.samples), "picture")
    say(f"{plan.spec} on {describe(plan.device)}, {precision}; {pictures}, {where}")
    batches, present = open_batches(plan.source, mode, plan.device, jobs, progress, plan.crew)
    missing = [name for index, name in enumerate(plan.classes.names) if present and index not in present]
    if missing:
        say(f"no pixel of '{plan.settings.train_split}' is {', '.join(missing)}: the model cannot learn that")
    return batches
