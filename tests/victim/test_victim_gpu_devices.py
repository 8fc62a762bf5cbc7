"""What hangs on the device, proved on the CPU: precision, determinism, exact grids, and nothing to wait for."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("segmentation_models_pytorch")

import torch.nn.functional as functional  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from poisongen.errors import ChoiceError  # noqa: E402
from poisongen.victim import augment as augmenting  # noqa: E402
from poisongen.victim import device as devices  # noqa: E402
from poisongen.victim.augment import Augmentation, augment, crop_matrices, sampling_grid  # noqa: E402
from poisongen.victim.canvas import Batch  # noqa: E402
from poisongen.victim.device import operation_errors, pick_device, pick_precision, set_precision  # noqa: E402
from poisongen.victim.loss import segmentation_loss  # noqa: E402
from poisongen.victim.run import Run  # noqa: E402
from poisongen.victim.settings import make_settings  # noqa: E402
from poisongen.victim.training import train  # noqa: E402

CPU = torch.device("cpu")

SMALL = {"model": "unet", "encoder": "tu-mobilenetv4_conv_small_050", "lr": 1e-2, "head_factor": 1.0, "batch": 8}


@pytest.fixture
def few(folders, tmp_path):
    """A clean dataset of eight samples."""
    return folders.write(tmp_path / "few", {"train": 8, "val": 2})


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
            train(few, tmp_path / "run", settings, layout="folder", device="cpu")
        monkeypatch.setattr(Run, "step", real)
        assert train(few, tmp_path / "run", settings, layout="folder", device="cpu").iterations == 1
        train(few, tmp_path / "other", make_settings({**SMALL, "epochs": 1}), layout="folder", device="cpu")
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


def test_the_report_says_how_it_was_computed(few, folders, tmp_path):
    """Device, precision and flip, in the report and in its text; flip is nothing for label maps that are written."""
    from poisongen.cli.evaluate_command import command

    built = folders.build(few, tmp_path / "built", rate=0.5)
    run = train(built, tmp_path / "run", make_settings({**SMALL, "epochs": 1}), stop_after=1).checkpoint
    shown = {}
    for options in ((), ("--flip",), ("--amp", "bf16")):
        call = [str(run), "--data", str(built), "--device", "cpu"]
        done = CliRunner().invoke(command, [*call, "--json", *options], catch_exceptions=False)
        model = json.loads(done.output.splitlines()[-1])["model"]
        assert model["device"].startswith("CPU, ")
        shown[options] = (model["precision"], model["flip"])
    assert shown == {(): ("fp32", False), ("--flip",): ("fp32", True), ("--amp", "bf16"): ("bf16", False)}
    text = CliRunner().invoke(command, [*call, "--flip"], catch_exceptions=False).output
    assert "unet (tu-mobilenetv4_conv_small_050) on CPU, 1 thread, fp32, averaged with the mirrored picture" in text
    refused = CliRunner().invoke(command, ["--predictions", str(tmp_path), "--data", str(built), "--flip"])
    assert isinstance(refused.exception, ChoiceError)
    assert "--flip: predictions that are written" in str(refused.exception)
