"""Steps as a GPU does them, proved on the CPU: in parts, in fp16, with other masks everywhere, without waiting."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("segmentation_models_pytorch")

import torch.nn.functional as functional  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from poisongen.errors import ChoiceError  # noqa: E402
from poisongen.victim import augment as augmenting  # noqa: E402
from poisongen.victim import device as devices  # noqa: E402
from poisongen.victim.augment import Augmentation, augment, crop_matrices, sampling_grid  # noqa: E402
from poisongen.victim.canvas import Batch  # noqa: E402
from poisongen.victim.checkpoint import load_checkpoint  # noqa: E402
from poisongen.victim.dataset import open_dataset  # noqa: E402
from poisongen.victim.device import operation_errors, pick_device, pick_precision, set_precision  # noqa: E402
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


class Card:
    """What torch says of a GPU that is not there."""

    def __init__(self, monkeypatch, bf16):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Old Card")


@pytest.mark.parametrize(
    ("kind", "bf16", "amp", "expected"),
    [
        ("cuda", True, "auto", torch.bfloat16),
        ("cuda", False, "auto", torch.float16),
        ("cuda", True, "fp16", torch.float16),
        ("cuda", False, "off", torch.float32),
        ("cuda", False, "bf16", "--amp bf16: Old Card has no bf16; use --amp fp16"),
        ("cpu", False, "auto", torch.float32),
        ("cpu", False, "bf16", torch.bfloat16),
        ("cpu", False, "fp16", torch.float16),
        ("mps", False, "auto", torch.float32),
        ("mps", False, "off", torch.float32),
        ("mps", False, "fp16", "--amp fp16: not on Apple GPUs; use --amp off"),
        ("mps", False, "bf16", "--amp bf16: not on Apple GPUs; use --amp off"),
    ],
)
def test_precisions_by_device(monkeypatch, kind, bf16, amp, expected):
    Card(monkeypatch, bf16)
    if isinstance(expected, str):
        with pytest.raises(ChoiceError) as caught:
            pick_precision(amp, torch.device(kind))
        assert str(caught.value).startswith(expected)
    else:
        assert pick_precision(amp, torch.device(kind)) == expected


def test_apple_gpus_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ChoiceError, match="--device mps: torch sees no Apple GPU here"):
        pick_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("mps").type == "mps"
    with pytest.raises(ChoiceError, match="'meta' is not supported; give cuda, mps or cpu"):
        pick_device("meta")
    missing = "The operator 'aten::bincount' is not currently implemented for the MPS device. If you want this op"
    with (
        pytest.raises(ChoiceError, match=r"--device mps: The operator 'aten::bincount' .* PYTORCH_ENABLE_MPS_FALLBACK"),
        operation_errors(torch.device("mps")),
    ):
        raise NotImplementedError(missing)


def test_deterministic_fails_rather_than_warns(few, tmp_path, monkeypatch):
    """An operation without a deterministic algorithm ends the run in one line; a step says here what torch says."""
    message = (
        "max_unpooling2d_forward_out does not have a deterministic implementation, but you set "
        "'torch.use_deterministic_algorithms(True)'. You can turn off determinism just for this operation"
    )

    def step(self, images, labels):
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        raise RuntimeError(message)

    real = Run.step
    monkeypatch.setattr(Run, "step", step)
    settings = make_settings({**SMALL, "deterministic": True, "epochs": 1})
    try:
        with pytest.raises(
            ChoiceError, match=r"--deterministic: not with this model on CPU.*max_unpooling2d.*leave it"
        ):
            train(few, tmp_path / "run", settings, layout="folder")
        monkeypatch.setattr(Run, "step", real)
        assert train(few, tmp_path / "run", settings, layout="folder").iterations == 1
        train(few, tmp_path / "other", make_settings({**SMALL, "epochs": 1}), layout="folder")
        assert not torch.are_deterministic_algorithms_enabled()  # the next run of this process asks anew
    finally:
        set_precision(CPU, deterministic=False)


@pytest.mark.parametrize("name", ["pspnet", "deeplabv3"])
def test_the_official_models_use_no_operation_that_varies_on_gpus(name):
    """Those that torch refuses with CUDA: pooling to a grid, and losses of label maps; their gradients, too."""
    from poisongen.victim.paper_models import paper_model

    seen = set()

    class Note(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            seen.add(str(function))
            return function(*arguments, **(options or {}))

    model = paper_model(name, "resnet18", 3, None).train()
    with Note():
        output = model(torch.randn(2, 3, 33, 33))
        segmentation_loss(output, torch.randint(0, 3, (2, 33, 33))).backward()
    assert any("convolution" in one for one in seen)
    assert not [one for one in seen if "adaptive" in one or "nll_loss" in one or "replication" in one or "put_" in one]


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


def pictures(count=3, height=40, width=48, device="cpu"):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 4, (count, height, width), dtype=torch.uint8, generator=generator)
    return Batch(images.to(device), labels.to(device), torch.tensor([[height, width]] * count))


FULL = Augmentation(scale=(0.5, 2.0), rotate=20.0, rotate_share=1.0, blur=0.5, flip=0.5, colour=0.3)


def test_grids_are_exact_where_products_are_not():
    """As affine_grid in double precision; in TF32 (10 bits of mantissa) it would be off by a fifth of a pixel."""
    side = 1024
    matrices = crop_matrices(
        torch.tensor([[side, side]] * 4), (side, side), (713, 713), FULL, torch.Generator().manual_seed(0)
    )
    wanted = functional.affine_grid(matrices.double(), [4, 3, 713, 713], align_corners=False)
    found = sampling_grid(matrices, (713, 713))
    assert float((found - wanted).abs().max()) * side / 2 < 1e-3
    cut = (matrices.view(torch.int32) & ~0x1FFF).view(torch.float32)  # what TF32 keeps of a number
    rough = functional.affine_grid(cut.double(), [4, 3, 713, 713], align_corners=False)
    assert float((rough - wanted).abs().max()) * side / 2 > 0.1


def test_no_product_in_the_grid():
    seen = []

    class Note(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            seen.append(str(function))
            return function(*arguments, **(options or {}))

    with Note():
        sampling_grid(torch.eye(3)[None, :2], (8, 8))
    assert seen
    assert not [one for one in seen if "mm" in one or "affine" in one]


def test_a_step_waits_for_nothing(monkeypatch):
    """On a device without memory of its own no value can be read back, and what is sent there goes by `send`, once."""
    monkeypatch.setattr(augmenting, "MEAN", augmenting.MEAN)
    sent = []
    real = devices.send

    def noted(tensor, device):
        sent.append(tuple(tensor.shape))
        with torch.utils._python_dispatch._disable_current_modes():
            return real(tensor, device)

    crossed = []

    class Note(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            options = options or {}
            given = next((one for one in arguments if isinstance(one, torch.Tensor)), None)
            target = options.get("device")
            if "_to_copy" in str(function) and target is not None and given is not None and given.device != target:
                crossed.append(str(function))
            return function(*arguments, **options)

    monkeypatch.setattr(augmenting, "send", noted)
    meta = pictures(device="meta")
    augment(meta, (32, 32), FULL, torch.Generator().manual_seed(1))  # fills what is made once for a device
    sent.clear()
    with Note():
        images, labels = augment(meta, (32, 32), FULL, torch.Generator().manual_seed(1))
        logits = torch.empty((3, 4, 32, 32), device="meta", requires_grad=True)
        segmentation_loss(logits * 1.0, labels).backward()
    assert images.device.type == labels.device.type == "meta"
    assert sent == [(3 * 6 + 3 * 3 + 3,)]
    assert crossed == []


def test_what_is_sent_to_a_gpu_is_pinned(monkeypatch):
    calls = []

    class Given:
        def pin_memory(self):
            calls.append("pinned")
            return self

        def to(self, device, non_blocking=False):
            calls.append((device.type, non_blocking))
            return self

    devices.send(Given(), torch.device("cuda", 0))
    devices.send(Given(), CPU)
    assert calls == ["pinned", ("cuda", True), ("cpu", False)]


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


def test_the_report_says_how_it_was_computed(few, folders, tmp_path):
    """Device, precision and flip, in the report and in its text; flip is nothing for label maps that are written."""
    from poisongen.cli.evaluate_command import command

    built = folders.build(few, tmp_path / "built", rate=0.5)
    run = train(built, tmp_path / "run", make_settings({**SMALL, "epochs": 1}), stop_after=1).checkpoint
    shown = {}
    for options in ((), ("--flip",), ("--amp", "bf16")):
        done = CliRunner().invoke(command, [str(run), "--data", str(built), "--json", *options], catch_exceptions=False)
        model = json.loads(done.output.splitlines()[-1])["model"]
        assert model["device"].startswith("CPU, ")
        shown[options] = (model["precision"], model["flip"])
    assert shown == {(): ("fp32", False), ("--flip",): ("fp32", True), ("--amp", "bf16"): ("bf16", False)}
    text = CliRunner().invoke(command, [str(run), "--data", str(built), "--flip"], catch_exceptions=False).output
    assert "unet (tu-mobilenetv4_conv_small_050) on CPU, 1 threads, fp32, averaged with the mirrored picture" in text
    refused = CliRunner().invoke(command, ["--predictions", str(tmp_path), "--data", str(built), "--flip"])
    assert isinstance(refused.exception, ChoiceError)
    assert "--flip: predictions that are written" in str(refused.exception)
