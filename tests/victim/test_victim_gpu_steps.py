"""Steps as a GPU does them, proved on the CPU: in parts, in fp16, with other masks in every process."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("segmentation_models_pytorch")

from torch import nn  # noqa: E402

from poisongen.errors import ChoiceError  # noqa: E402
from poisongen.victim.checkpoint import load_checkpoint  # noqa: E402
from poisongen.victim.dataset import open_dataset  # noqa: E402
from poisongen.victim.distributed import Crew, share, unshared  # noqa: E402
from poisongen.victim.loss import segmentation_loss  # noqa: E402
from poisongen.victim.plan import make_plan  # noqa: E402
from poisongen.victim.run import Run  # noqa: E402
from poisongen.victim.run_log import speaker  # noqa: E402
from poisongen.victim.settings import make_settings  # noqa: E402
from poisongen.victim.training import train  # noqa: E402

CPU = torch.device("cpu")

SMALL = {"model": "unet", "encoder": "tu-mobilenetv4_conv_small_050", "lr": 1e-2, "head_factor": 1.0, "batch": 8}


@pytest.fixture
def few(folders, tmp_path):
    """A clean dataset of eight samples."""
    return folders.write(tmp_path / "few", {"train": 8, "val": 2})


def make_run(root, out, crew=None, **changes):
    settings = make_settings({**SMALL, "epochs": 2, **changes})
    plan = make_plan(open_dataset(root, "folder"), settings, crew or Crew(), CPU, 1)
    return Run(plan, out, speaker(False), False, False)


class Plain(nn.Module):
    """A model without batch norm, with dropout on demand."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.encoder = nn.Conv2d(3, 8, 3, padding=1)
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, images):
        return self.head(self.dropout(self.encoder(images).relu()))


def with_model(run, model):
    """Let a run train another model."""
    from poisongen.victim.optimise import make_optimizer

    run.model = model
    run.wrapped = share(model, run.plan.crew, run.plan.device, run.plan.settings.accumulate)
    run.optimizer = make_optimizer(model, run.plan.settings)
    return run


def a_batch(count=8, side=16, seed=0):
    """Pictures of which each has another share of void: means of means would differ."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, side, side, generator=generator)
    labels = torch.randint(0, 3, (count, side, side), generator=generator)
    for number in range(count):
        labels[number, : number * side // count] = 255
    return images, labels


@pytest.mark.parametrize("parts", [2, 4, 8])
@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_parts_of_a_step_are_the_step(few, tmp_path, parts, clip):
    """The same loss, gradients and weights as the whole batch at once, for a model without batch norm."""
    found = []
    for accumulate in (1, parts):
        torch.manual_seed(3)
        run = with_model(make_run(few, tmp_path / "run", accumulate=accumulate, clip=clip), Plain())
        run.model.load_state_dict(found[0][1] if found else run.model.state_dict())
        first = {name: value.clone() for name, value in run.model.state_dict().items()}
        losses = [float(run.step(*a_batch(seed=seed))) for seed in range(3)]
        found.append((losses, first, {name: value.clone() for name, value in run.model.state_dict().items()}))
    (one, first, whole), (other, _, divided) = found
    assert one == pytest.approx(other, rel=1e-5)
    for name, value in whole.items():
        assert torch.allclose(value, divided[name], atol=1e-6), name
        assert not torch.allclose(value, first[name], atol=1e-4), name


def test_a_mean_of_means_would_be_something_else():
    """What the test above would not see if all pictures had as many known pixels."""
    images, labels = a_batch()
    logits = Plain()(images).detach()
    halves = [segmentation_loss(a, b) for a, b in zip(logits.chunk(2), labels.chunk(2), strict=True)]
    assert abs(float(sum(halves) / 2 - segmentation_loss(logits, labels))) > 1e-3


def test_accumulate_on_the_command_line(few, tmp_path):
    """Recorded, asked for again by --resume, and refused where the batch has no such parts."""
    from poisongen.cli.train_command import command

    def call(*more):
        arguments = [str(few), "--dataset", "folder", "--model", "unet", "--encoder", SMALL["encoder"], "--epochs", "2"]
        return CliRunner().invoke(command, [*arguments, "--out", str(tmp_path / "run"), *more])

    done = call("--batch", "8", "--accumulate", "2", "--stop-after", "1", "--json")
    assert done.exit_code == 0, done.output
    found = load_checkpoint(tmp_path / "run")
    assert (found.settings["accumulate"], found.settings["batch"], found.iteration) == (2, 8, 1)
    other = call("--batch", "8", "--resume")
    assert isinstance(other.exception, ChoiceError)
    assert "has accumulate 2, not 1" in str(other.exception)
    assert call("--batch", "8", "--accumulate", "2", "--resume", "--json").exit_code == 0
    assert load_checkpoint(tmp_path / "run").iteration == 2
    for batch, parts, what in (
        ("8", "3", "--accumulate 3: the 8 pictures do not divide into so many equal parts"),
        ("4", "8", "--accumulate 8: the 4 pictures do not divide"),
        ("8", "0", "--accumulate: input should be greater than or equal to 1"),
        ("8", "8", None),
    ):
        refused = call("--batch", batch, "--accumulate", parts)
        assert isinstance(refused.exception, ChoiceError)
        assert (what or "holds a run") in str(refused.exception)


def test_parts_of_one_picture_are_too_small_for_some_models(few, tmp_path):
    settings = make_settings({**SMALL, "model": "deeplabv3", "accumulate": 8})
    with pytest.raises(ChoiceError, match=r"--batch 8 --accumulate 8: .* need at least 2 pictures in a part"):
        train(few, tmp_path / "run", settings, layout="folder")


def test_a_run_older_than_a_setting_goes_on(few, tmp_path):
    from dataclasses import replace

    from poisongen.victim.checkpoint import save_checkpoint

    settings = make_settings({**SMALL, "epochs": 2})
    path = train(few, tmp_path / "run", settings, layout="folder", stop_after=1).checkpoint
    found = load_checkpoint(path)
    older = {name: value for name, value in found.settings.items() if name != "accumulate"}
    save_checkpoint(path, replace(found, settings=older))
    assert train(few, tmp_path / "run", settings, layout="folder", resume=True).iterations == 2


def test_fp16_scales_its_loss_and_keeps_the_scale(few, tmp_path):
    """On the CPU, which has fp16 autocast: gradients too small for fp16 arrive, and the scale is in the checkpoint."""
    settings = make_settings({**SMALL, "amp": "fp16", "epochs": 2})
    whole = train(few, tmp_path / "whole", settings, layout="folder")
    train(few, tmp_path / "run", settings, layout="folder", stop_after=1)
    assert 2**10 <= load_checkpoint(tmp_path / "run").scaler["scale"] <= 2**16
    train(few, tmp_path / "run", settings, layout="folder", resume=True)
    one, other = load_checkpoint(whole.checkpoint), load_checkpoint(tmp_path / "run")
    assert one.scaler == other.scaler
    assert all(torch.equal(value, other.model[name]) for name, value in one.model.items())
    plain = load_checkpoint(
        train(few, tmp_path / "plain", make_settings(SMALL), layout="folder", stop_after=1).checkpoint
    )
    assert plain.scaler == {}
    assert not torch.equal(one.model["segmentation_head.0.weight"], plain.model["segmentation_head.0.weight"])


def test_a_gradient_that_overflows_in_fp16_skips_its_step(few, tmp_path):
    run = with_model(make_run(few, tmp_path / "run", amp="fp16"), Plain())
    images, labels = a_batch()
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.step(images * 3e4, labels)
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())
    assert run.scaler.get_scale() == 2**15
    run.step(images, labels)
    assert not torch.equal(run.model.head.weight, before["head.weight"])


def masks_of(run, iteration):
    """Return what dropout leaves of ones in a step."""
    run.iteration = iteration
    torch.manual_seed(0)
    model = Plain(dropout=0.5)
    left = []
    model.dropout.register_forward_hook(lambda module, given, result: left.append((result != 0).float().mean((2, 3))))
    with_model(run, model).step(*a_batch())
    return torch.cat(left)


def test_dropout_masks_hang_on_seed_iteration_process_and_part(few, tmp_path, monkeypatch):
    from poisongen.victim import run as module

    monkeypatch.setattr(module, "share", lambda model, *rest: model)  # processes without their group
    monkeypatch.setattr(sys.modules[__name__], "share", lambda model, *rest: model)
    models = [make_run(few, tmp_path / "run", Crew(rank, rank, 2, 2)) for rank in (0, 1)]
    first = [run.model.state_dict() for run in models]
    assert all(torch.equal(value, first[1][name]) for name, value in first[0].items())  # all start alike
    one, other = (masks_of(run, 5) for run in models)
    assert not torch.equal(one, other)
    assert torch.equal(one, masks_of(models[0], 5))
    assert not torch.equal(one, masks_of(models[0], 6))
    assert not torch.equal(one, masks_of(make_run(few, tmp_path / "run", Crew(0, 0, 2, 2), seed=1), 5))
    parts = masks_of(make_run(few, tmp_path / "run", Crew(0, 0, 1, 1), accumulate=2), 5)
    assert not torch.equal(parts[:4], parts[4:])


def test_one_process_needs_no_context():
    model = Plain()
    with unshared(model, last=False):
        model(torch.zeros(1, 3, 8, 8)).sum().backward()
    assert model.head.weight.grad is not None


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_and_parts_are_one_large_batch(few, tmp_path, accumulate):
    """torchrun on the CPU: two processes, each in parts, end with the weights of one process with the whole batch.

    Every picture has as many known pixels, since each process takes the mean over its own.
    """
    code = f"""
        import sys, torch
        sys.path.insert(0, {str(tmp_path)!r})
        torch.set_num_threads(1)
        from pathlib import Path
        from torch import nn
        from poisongen.victim import run as module
        from poisongen.victim.dataset import open_dataset
        from poisongen.victim.distributed import find_crew, joined
        from poisongen.victim.plan import make_plan
        from poisongen.victim.run_log import speaker
        from poisongen.victim.settings import make_settings

        class Plain(nn.Module):
            def __init__(self):
                super().__init__()
                self.encoder = nn.Conv2d(3, 8, 3, padding=1)
                self.unused = nn.Conv2d(8, 8, 1)
                self.head = nn.Conv2d(8, 3, 1)
            def forward(self, images):
                return self.head(self.encoder(images).relu())

        module.build_model = lambda spec, weights: Plain()
        crew, cpu = find_crew(), torch.device("cpu")
        settings = make_settings({dict(SMALL, accumulate=accumulate, clip=0.0, epochs=1)!r})
        with joined(crew, cpu):
            plan = make_plan(open_dataset(Path({str(few)!r}), "folder"), settings, crew, cpu, 1)
            run = module.Run(plan, Path("nowhere"), speaker(False), False, False)
            for seed in range(3):
                generator = torch.Generator().manual_seed(seed)
                images = torch.randn(8, 3, 16, 16, generator=generator)
                labels = torch.randint(0, 3, (8, 16, 16), generator=generator)
                first = crew.rank * plan.local_batch
                run.step(images[first : first + plan.local_batch], labels[first : first + plan.local_batch])
                run.iteration += 1
            if crew.leads:
                torch.save(run.model.state_dict(), sys.argv[1])
    """
    script = tmp_path / "go.py"
    script.write_text(textwrap.dedent(code))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    found = []
    for number, start in enumerate(([sys.executable], launch)):
        command = [*start, str(script), str(tmp_path / f"{number}.pt")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        found.append(torch.load(tmp_path / f"{number}.pt", weights_only=True))
    assert all(torch.allclose(value, found[1][name], atol=1e-6) for name, value in found[0].items())
