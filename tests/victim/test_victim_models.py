"""Models are the library's, put together as the paper has them; weights come from files of plain tensors."""

from __future__ import annotations

import pickle

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("segmentation_models_pytorch")

from poisongen.errors import ChoiceError  # noqa: E402
from poisongen.victim.model_names import library_name, model_list  # noqa: E402
from poisongen.victim.models import build_model, logits_of, make_spec  # noqa: E402
from poisongen.victim.paper_models import PaperModel  # noqa: E402

SMALL = "tu-mobilenetv4_conv_small_050"


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ("Unet", "unet"),
        ("DeepLabV3+", "deeplabv3plus"),
        ("deeplabv3_plus", "deeplabv3plus"),
        ("smp-fpn", "fpn"),
        ("PSPNet", "pspnet"),
        ("smp-pspnet", "smp-pspnet"),
        ("DeepLabV3", "deeplabv3"),
        ("smp_deeplabv3", "smp-deeplabv3"),
        ("smp-deeplabv3+", "deeplabv3plus"),
    ],
)
def test_names_of_models(given, known):
    assert library_name(given, ["unet", "deeplabv3", "deeplabv3plus", "fpn", "pspnet"]) == known


def test_unknown_names_say_what_there_is():
    with pytest.raises(ChoiceError, match=r"no model 'unett'; there are .*deeplabv3, .*smp-pspnet"):
        make_spec("unett", None, 3)
    with pytest.raises(ChoiceError, match="no encoder 'resnet19'"):
        make_spec("unet", "resnet19", 3)
    assert {"deeplabv3", "pspnet", "segformer", "smp-pspnet", "unet"} <= set(model_list())


def test_usual_encoders_are_the_papers():
    assert make_spec("deeplabv3", None, 19).encoder == "resnet50"
    assert make_spec("segformer", None, 19).encoder == "mit_b0"
    assert make_spec("smp-segformer", None, 19).encoder == "mit_b0"


@pytest.mark.parametrize("name", ["pspnet", "deeplabv3"])
def test_the_official_models_are_dilated_and_have_an_auxiliary_head(name):
    model = build_model(make_spec(name, "resnet18", 4))
    assert isinstance(model, PaperModel)
    features = model.encoder(torch.zeros(1, 3, 65, 97))
    assert features[-1].shape[-2:] == (9, 13)  # stride 8, from the first pixel to the last
    main, auxiliary = model.train()(torch.zeros(2, 3, 65, 97))
    assert main.shape == auxiliary.shape == (2, 4, 65, 97)
    assert model.eval()(torch.zeros(1, 3, 65, 97)).shape == (1, 4, 9, 13)
    gradients = torch.autograd.grad(auxiliary.sum(), [model.auxiliary_head[0][0].weight], allow_unused=True)
    assert gradients[0] is not None


@pytest.mark.parametrize("name", ["smp-deeplabv3", "smp-segformer", "smp-pspnet", "fpn"])
def test_other_models_come_from_the_library_as_they_are(name):
    spec = make_spec(name, "mit_b0" if name == "smp-segformer" else "resnet18", 4)
    model = build_model(spec).eval()
    assert type(model).__module__.startswith("segmentation_models_pytorch")
    assert logits_of(model(torch.zeros(1, 3, 64, 64))).shape == (1, 4, 64, 64)


def test_an_encoder_that_does_not_fit_is_one_line():
    with pytest.raises(ChoiceError, match="--model unetplusplus: not with the encoder mit_b0"):
        build_model(make_spec("unetplusplus", "mit_b0", 3))


@pytest.mark.parametrize(
    "wrap", [lambda d: d, lambda d: {"state_dict": {f"module.encoder.{k}": v for k, v in d.items()}}]
)
def test_weights_from_a_file(tmp_path, wrap):
    spec = make_spec("unet", SMALL, 3)
    donor = build_model(spec)
    torch.save(wrap(donor.encoder.state_dict()), tmp_path / "weights.pth")
    model = build_model(spec, str(tmp_path / "weights.pth"))
    for name, value in donor.encoder.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[name], value), name
    assert not torch.equal(
        model.decoder.state_dict()["blocks.0.conv1.0.weight"], donor.decoder.state_dict()["blocks.0.conv1.0.weight"]
    )


def test_weights_that_do_not_fit_are_one_line(tmp_path):
    torch.save(build_model(make_spec("unet", "resnet18", 3)).encoder.state_dict(), tmp_path / "other.pth")
    (tmp_path / "code.pth").write_bytes(pickle.dumps(print))
    spec = make_spec("unet", SMALL, 3)
    for name, what in (
        ("other.pth", "not for this encoder: it lacks"),
        ("code.pth", "no file of plain tensors"),
        ("none.pth", "neither a file nor"),
    ):
        with pytest.raises(ChoiceError, match=what):
            build_model(spec, str(tmp_path / name))


def test_imagenet_weights_out_of_reach_say_how_to_give_a_file(monkeypatch):
    import segmentation_models_pytorch.encoders as encoders

    def unreachable(*arguments, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(encoders, "hf_hub_download", unreachable)
    with pytest.raises(ChoiceError, match=r"cannot be fetched .*give the file"):
        build_model(make_spec("unet", "resnet18", 3), "imagenet")
