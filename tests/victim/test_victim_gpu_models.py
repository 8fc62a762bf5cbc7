"""What models must be on a GPU, proved on the CPU: the official architectures, aligned logits, synchronised norms."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("segmentation_models_pytorch")

from torch import nn  # noqa: E402

from poisongen.errors import DataError  # noqa: E402
from poisongen.victim.augment import normalise  # noqa: E402
from poisongen.victim.device import autocast  # noqa: E402
from poisongen.victim.distributed import synchronised  # noqa: E402
from poisongen.victim.models import build_model, input_size, logits_of, make_spec  # noqa: E402
from poisongen.victim.paper_models import BINS, Float32Head, PaperModel, paper_model, pool_windows  # noqa: E402
from poisongen.victim.predictor import Predictor, interpolate  # noqa: E402

CPU = torch.device("cpu")


def lively(model, seed=0):
    """Give norms and biases values that a lost one would betray, and return the model in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.3)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
            module.weight.data.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
            module.bias.data.copy_(torch.randn(module.num_features, generator=generator) * 0.3)
    return model.eval()


ENCODERS = [
    "tu-regnetx_002",
    "tu-regnety_002",
    "tu-efficientnet_b0",
    "tu-mobilenetv3_small_050",
    "tu-mobilenetv4_conv_small_050",
    "tu-tf_efficientnetv2_b0",
    "tu-resnet10t",
    "efficientnet-b0",
    "mobilenet_v2",
    "resnet18",
]


@pytest.mark.parametrize("encoder", ENCODERS)
def test_synchronised_norms_change_no_output(encoder):
    """Evaluation mode, and training mode without other processes: then a synchronised norm is a plain one."""
    torch.manual_seed(0)
    model = lively(build_model(make_spec("unet", encoder, 3)))
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    converted = synchronised(copy.deepcopy(model))
    kinds = [module for module in converted.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert kinds
    assert all(isinstance(module, nn.SyncBatchNorm) for module in kinds)
    assert model.state_dict().keys() == converted.state_dict().keys()
    with torch.no_grad():
        assert torch.equal(model(images), converted(images))
        found = []
        for part in (model.train(), converted.train()):
            torch.manual_seed(2)  # for what is dropped
            found.append(part(images))
        assert torch.allclose(*found, atol=1e-5)


def test_torchs_own_conversion_is_why():
    """The fault that `synchronised` avoids is real: should torch mend it, this says so."""
    model = lively(build_model(make_spec("unet", "tu-regnetx_002", 3)))
    images = torch.randn(1, 3, 64, 64)
    theirs = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(model))
    with torch.no_grad():
        assert not torch.allclose(model(images), theirs(images), atol=1e-3)


def shapes_of(module, kind):
    return [(one.in_channels, one.out_channels, one.kernel_size[0], one.dilation[0], one.bias is not None)
            for one in module.modules() if isinstance(one, kind)]  # fmt: skip


def test_pspnet_is_the_official_one():
    """Facts of model/pspnet.py of the official code, resnet50."""
    model = paper_model("pspnet", "resnet50", 19, None)
    pyramid, fusing, dropout = model.decoder
    assert BINS == (1, 2, 3, 6)
    for branch in pyramid.branches:
        assert [type(part) for part in branch] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
        assert shapes_of(branch, nn.Conv2d) == [(2048, 512, 1, 1, False)]
    assert shapes_of(fusing, nn.Conv2d) == [(4096, 512, 3, 1, False)]
    assert isinstance(fusing[1], nn.BatchNorm2d)
    assert dropout.p == 0.0
    assert shapes_of(model.segmentation_head, nn.Conv2d) == [(512, 19, 1, 1, True)]
    assert shapes_of(model.auxiliary_head, nn.Conv2d) == [(1024, 256, 3, 1, False), (256, 19, 1, 1, True)]
    stages = model.encoder.layer3, model.encoder.layer4
    for stage, rate in zip(stages, (2, 4), strict=True):
        assert {
            one.dilation for one in stage.modules() if isinstance(one, nn.Conv2d) and one.kernel_size == (3, 3)
        } == {(rate, rate)}
        assert {one.stride for one in stage.modules() if isinstance(one, nn.Conv2d)} == {(1, 1)}


def test_deeplabv3_is_the_official_one():
    model = paper_model("deeplabv3", "resnet50", 21, None)
    pyramid, fusing, dropout = model.decoder
    assert shapes_of(pyramid.branches, nn.Conv2d) == [
        (2048, 256, 1, 1, False),
        (2048, 256, 3, 6, False),
        (2048, 256, 3, 12, False),
        (2048, 256, 3, 18, False),
    ]
    assert shapes_of(pyramid.mean, nn.Conv2d) == [(2048, 256, 1, 1, False)]
    assert shapes_of(fusing, nn.Conv2d) == [(1280, 256, 1, 1, False)]
    assert dropout.p == 0.1
    assert shapes_of(model.auxiliary_head, nn.Conv2d) == [(1024, 256, 1, 1, False), (256, 21, 1, 1, True)]


@pytest.mark.parametrize("name", ["pspnet", "deeplabv3"])
def test_the_auxiliary_head_counts_four_tenths_and_teaches_stage_three(name):
    from poisongen.victim.loss import segmentation_loss

    model = paper_model(name, "resnet18", 3, None).train()
    labels = torch.randint(0, 3, (2, 33, 33))
    main, auxiliary = model(torch.randn(2, 3, 33, 33))
    plain = nn.functional.cross_entropy
    assert torch.allclose(
        segmentation_loss((main, auxiliary), labels), plain(main, labels) + 0.4 * plain(auxiliary, labels), atol=1e-5
    )
    plain(auxiliary, labels).backward()
    assert model.encoder.layer3[0].conv1.weight.grad.abs().sum() > 0
    assert model.encoder.layer4[0].conv1.weight.grad is None


@pytest.mark.parametrize("size", [(6, 6), (9, 13), (90, 60), (7, 5)])
def test_pooling_is_torchs(size):
    features = torch.randn(2, 5, *size, generator=torch.Generator().manual_seed(0))
    for found, side in zip(pool_windows(features, BINS), BINS, strict=True):
        assert torch.allclose(found, nn.functional.adaptive_avg_pool2d(features, side), atol=1e-6)


def test_sizes_that_models_take():
    official, other = paper_model("pspnet", "resnet18", 3, None), build_model(make_spec("unet", "resnet18", 3))
    cases = [((713, 713), (713, 713), (736, 736)), ((512, 1024), (513, 1025), (512, 1024)), ((1, 2), (1, 9), (32, 32))]
    for asked, eighths, multiples in cases:
        assert input_size(official, asked) == eighths
        assert input_size(other, asked) == multiples


class Eighths(nn.Module):
    """An encoder without doubt about where its features lie: every eighth pixel of the picture."""

    def forward(self, images):
        return [images[..., ::8, ::8]] * 2


def ramps():
    """An official model whose logits are the picture's first two channels, at every eighth pixel."""
    head = Float32Head(nn.Conv2d(3, 2, 1, bias=False))
    head[0].weight.data.copy_(torch.eye(3)[:2].view(2, 3, 1, 1))
    return PaperModel(Eighths(), nn.Identity(), head, copy.deepcopy(head))


def crossing(width, height, at_column, at_row):
    """A picture whose channels cross at a column, and (transposed) at a row: far from eighths and near the edge."""
    columns = np.clip(128 + 4 * (np.arange(width) - at_column), 0, 255)
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = columns.astype(np.uint8)
    image[..., 1] = 128
    return image


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 41), (40, 64), (30, 47)])
@pytest.mark.parametrize("factor", [1, 2])
def test_logits_stay_where_their_pixels_are(height, width, factor):
    """A linear picture comes back exactly, up to its last pixel: no drift at the right and bottom edges.

    Enlarged to the label's size, too; and by rows as by columns.
    """
    model = ramps().eval()
    ramp = np.arange(width, dtype=np.uint8) * 3
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = ramp
    predictor = Predictor(model, 2, None, CPU, torch.float32, 1, 1, False)
    pixels = normalise(torch.from_numpy(image)[None].permute(0, 3, 1, 2))
    for turned in (False, True):
        picture = pixels.transpose(2, 3) if turned else pixels
        size = picture.shape[-2:]
        shape = (size[0] * factor, size[1] * factor)
        # The rim is padding: the last feature lies in it, and the last pixels are not linear there.
        inside = [side if (side - 1) % 8 == 0 else (side - 1) // 8 * 8 + 1 for side in size]
        found = predictor._at(predictor._logits(picture)[0], size, shape)[0]
        places = [((torch.arange(side * factor) + 0.5) / factor - 0.5).clamp(0, side - 1) for side in size]
        wanted = picture[0, 0]
        for axis in (0, 1):
            wanted = interpolate(wanted, places[axis], axis)
        kept = [int((place <= last - 1).sum()) for place, last in zip(places, inside, strict=True)]
        assert torch.allclose(found[: kept[0], : kept[1]], wanted[: kept[0], : kept[1]], atol=1e-4)


def test_what_the_drift_was():
    """The interpolation that was here before moves the same ramp by 7 pixels at the edge."""
    ramp = torch.arange(64.0).expand(1, 1, 8, 64)
    features = ramp[..., ::8]
    before = nn.functional.interpolate(features, (8, 64), mode="bilinear", align_corners=True)
    assert float((before - ramp).abs().max()) == pytest.approx(7.0)


def test_training_and_evaluation_see_the_same_logits():
    model = paper_model("pspnet", "resnet18", 3, None)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 0.0
    images = torch.randn(2, 3, 33, 41, generator=torch.Generator().manual_seed(0))
    lively(model)
    with torch.no_grad():
        small = model(images)
        model.training = True  # of the model alone: its norms stay in evaluation mode
        large, _ = model(images)
    assert small.shape == (2, 3, 5, 6)
    assert torch.allclose(large[..., ::8, ::8], small, atol=1e-5)


@pytest.mark.parametrize("name", ["deeplabv3", "pspnet", "segformer", "unet", "fpn", "deeplabv3plus", "upernet"])
def test_heads_compute_in_fp32_under_autocast(name):
    """In bf16, logits of random weights are equal for many pixels; ties went to class 0, the target's."""
    torch.manual_seed(0)
    spec = make_spec(name, "mit_b0" if name == "segformer" else "resnet18", 19)
    model = build_model(spec).eval()
    size = input_size(model, (64, 64))
    with torch.inference_mode(), autocast(CPU, torch.bfloat16):
        logits = logits_of(model(torch.randn(1, 3, *size)))
    assert logits.dtype == torch.float32
    best = logits.topk(2, dim=1).values
    assert float((best[:, 0] == best[:, 1]).float().mean()) < 0.001
    if name == "unet":  # as it was: enough pixels to see it
        rounded = logits.bfloat16().topk(2, dim=1).values
        assert float((rounded[:, 0] == rounded[:, 1]).float().mean()) > 0.001


def test_segformer_is_enlarged_once_as_its_own_code_does():
    """Logits at 1/4, then cells that cover the picture evenly (align_corners false), to any size."""
    torch.manual_seed(0)
    model = build_model(make_spec("segformer", None, 3)).eval()
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    predictor = Predictor(model, 3, None, CPU, torch.float32, 1, 1, False)
    pixels = normalise(torch.from_numpy(image)[None].permute(0, 3, 1, 2))
    with torch.inference_mode():
        logits = model(pixels)
        assert logits.shape == (1, 3, 16, 24)
        large = nn.functional.interpolate(logits, (64, 96), mode="bilinear", align_corners=False)
        found = predictor._at(logits[0], pixels.shape[-2:], (64, 96))
    assert torch.allclose(found, large[0], atol=1e-5)
    library = build_model(make_spec("smp-segformer", None, 3))
    assert library.load_state_dict(model.state_dict())
    assert library.eval()(pixels).shape == (1, 3, 64, 96)


def test_flip_averaging_is_the_mean_of_both_probabilities():
    torch.manual_seed(0)
    model = lively(paper_model("pspnet", "resnet18", 3, None))
    image = np.random.default_rng(0).integers(0, 256, (33, 41, 3), dtype=np.uint8)
    plain = Predictor(model, 3, None, CPU, torch.float32, 1, 1, False)
    with torch.inference_mode():
        both = []
        for picture in (image, image[:, ::-1]):
            pixels = normalise(torch.from_numpy(picture.copy())[None].permute(0, 3, 1, 2))
            large = nn.functional.interpolate(model(pixels), (33, 41), mode="bilinear", align_corners=True)
            both.append(large.softmax(dim=1))
        wanted = ((both[0] + both[1].flip(-1)) / 2).argmax(dim=1)
    averaged = replace(plain, flip=True).predict([image], (33, 41))
    assert torch.equal(averaged, wanted)
    mirrored = replace(plain, flip=True).predict([image[:, ::-1].copy()], (33, 41))
    assert torch.equal(mirrored.flip(-1), averaged)
    assert not torch.equal(plain.predict([image], (33, 41)), averaged)


def test_checkpoints_of_the_first_format_are_what_they_were(tmp_path):
    """Then `deeplabv3` and `segformer` were the library's models; the old PSPNet is refused in one line."""
    from poisongen.victim import checkpoint as format_of
    from poisongen.victim.checkpoint import Checkpoint, load_checkpoint, load_weights
    from poisongen.victim.classes import TrainClasses

    names = ("road", "sky", "car")
    for name, known in (
        ("deeplabv3", "smp-deeplabv3"),
        ("segformer", "smp-segformer"),
        ("unet", "unet"),
        ("pspnet", None),
    ):
        spec = make_spec(known or name, "mit_b0" if name == "segformer" else "resnet18", 3)
        old = {
            "format": "poisongen checkpoint 1",
            "layout": "folder",
            "classes": TrainClasses((0, 1, 2), names).as_data(),
            "spec": {**spec.as_data(), "name": name},
            "size": None,
            "settings": {},
            "data": {},
            "iteration": 1,
            "model": build_model(spec).state_dict(),
            "optimizer": {},
            "random": {"cpu": torch.get_rng_state()},
        }
        path = tmp_path / f"{name}.pt"
        torch.save(old, path)
        if known is None:
            with pytest.raises(DataError, match="holds the PSPNet of an earlier version"):
                load_checkpoint(path)
            continue
        found = load_checkpoint(path)
        assert isinstance(found, Checkpoint)
        assert found.spec.name == known
        load_weights(build_model(found.spec), found, path)
    assert format_of.FORMAT != "poisongen checkpoint 1"
