"""Exported weights in real PyTorch, against the numbers of our evaluation mode.

Usage: python take_home.py compare CASES.json | make FOLDER | embeddings NAME | images FOLDER | view FOLDER
(`selfie-eval/tests/cli/take_home.rs` calls them)

`make` writes ResNet-50s of torchvision and timm, as .pth and as safetensors, with images and their logits. In `compare`
each case brings the lines of Python that `selfie export` printed, which are run as they are and must end in `model`, and a
file with images (B, C, H, W), features (B, D) and maybe logits (B, classes). `embeddings` reads NAME.safetensors, .npy, .tsv
and .parquet of the same images. `images` writes
some of FOLDER/photographs in other sizes and modes to FOLDER/images. `view` runs the lines in FOLDER/snippet.py and compares the features of the images in
FOLDER/images, seen by its function `view`, with those of `selfie embed` in FOLDER/f.npy. It needs torch, torchvision, timm and safetensors; for `embeddings` pandas and pyarrow too.
"""

import json
import pathlib
import sys

import safetensors.numpy
import timm
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import load_file, save_file

TOLERANCE = 1e-4


def without_classifier(model):
    """The same model, ending in its features."""
    owner = model if hasattr(model, "fc") else model.head
    owner.fc = torch.nn.Identity()
    return model


def features_behind_the_norm(model, images, encoder):
    """timm's network has no place for the trunk's own final norm: it is put behind the map of stage 3."""
    norm = {name.removeprefix("norm."): value for name, value in load_file(encoder).items() if name.startswith("norm.")}
    y = model.forward_features(images)  # (B, D, H, W)
    y = F.batch_norm(y, norm["running_mean"], norm["running_var"], norm["weight"], norm["bias"])
    return y.relu().mean((2, 3))


def differences(case):
    space = {}
    exec(case["snippet"], space)
    model, known = space["model"], load_file(case["reference"])
    images = known["images"]
    found = {}
    if case["complete"]:
        found["logits"] = model(images)
        found["features"] = without_classifier(model)(images)
    elif case["left_out"]:
        found["features"] = features_behind_the_norm(model, images, case["encoder"])
    else:
        found["features"] = model(images)
    expected = {name for name in known if name != "images"}
    assert set(found) == expected, f"{set(found)} instead of {expected}"
    largest = lambda tensor: tensor.abs().max().item()  # noqa: E731
    return {name: (largest(found[name] - known[name]), largest(known[name])) for name in sorted(found)}, images.shape[-1]


def compare(file):
    sys.path.insert(0, ".")
    bad = 0
    cases = json.loads(pathlib.Path(file).read_text())
    for case in cases:
        found, pixels = differences(case)
        good = all(difference <= TOLERANCE for difference, _ in found.values())
        bad += not good
        words = ", ".join(f"{name} {difference:.1e} (values to {most:.1f})" for name, (difference, most) in found.items())
        print(f"{'ok ' if good else 'BAD'} {case['name']}, {pixels} px: largest difference of {words}", flush=True)
    print(f"{len(cases)} cases, {bad} of them beyond {TOLERANCE}")
    sys.exit(bad > 0)


def make(folder):
    folder, generator = pathlib.Path(folder), torch.Generator().manual_seed(0)
    models = {
        "torchvision": torchvision.models.resnet50(),
        "timm": timm.create_model("resnet50", num_classes=10),
        "timm-v2": timm.create_model("resnetv2_50", num_classes=10),
    }
    images = torch.randn(2, 3, 224, 224, generator=generator)
    for name, model in models.items():
        for norm in [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]:
            norm.running_mean.normal_(0, 0.1, generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
            norm.bias.normal_(0, 0.1, generator=generator)
            norm.weight.uniform_(0.3, 0.7, generator=generator)  # timm starts some of them at zero
        torch.save(model.state_dict(), folder / f"{name}.pth")
        save_file(model.state_dict(), folder / f"{name}.safetensors")
        known = {"images": images, "logits": model.eval()(images)}
        save_file(known, folder / f"{name}-reference.safetensors")


def embeddings(stem):
    """The three files of the same images, by safetensors, numpy and pandas."""
    import numpy
    import pandas

    tensors = safetensors.numpy.load_file(f"{stem}.safetensors")
    names = bytes(tensors["names"]).decode().split("\0")[:-1]
    array, table = numpy.load(f"{stem}.npy"), pandas.read_csv(f"{stem}.tsv", sep="\t")
    frame = pandas.read_parquet(f"{stem}.parquet", engine="pyarrow")
    assert len(names) == len(array) == len(table) == len(frame) == 240
    assert list(table.name) == list(frame.name) == names
    assert list(table.label) == list(frame.label) == list(tensors["labels"])
    assert list(table["class"]) == list(frame["class"]) and frame["class"].nunique() == 12
    assert list(frame.split == "test") == list(tensors["splits"] == 1) and (frame.split == "test").sum() == 48
    assert array.dtype == numpy.float32 and numpy.array_equal(array, tensors["image"])
    assert all(numpy.array_equal(numpy.stack(frame[kind]), tensors[kind]) for kind in ("image", "patches"))
    print(f"numpy {numpy.__version__}, pandas {pandas.__version__} and safetensors read the same {array.shape} features")


def images(folder):
    """Portrait, landscape and square photographs, in color, gray, and partly transparent."""
    import numpy
    from PIL import Image

    out = pathlib.Path(folder) / "images"
    out.mkdir()
    photographs = sorted(pathlib.Path(folder, "photographs").rglob("*.jpg"))
    for i, size in enumerate([(257, 500), (333, 100), (224, 224)]):
        image = Image.open(photographs[i]).convert("RGB").resize(size)
        image.save(out / f"{i}.jpg", quality=92)
        image.convert("L").save(out / f"{i}-gray.png")
        deep = numpy.asarray(image.convert("L")).astype(numpy.uint16) * 257 - 100 * (i + 1)
        Image.fromarray(deep.clip(0, 65535).astype(numpy.uint16)).save(out / f"{i}-deep.png")
        image.putalpha(image.convert("L"))
        image.save(out / f"{i}-transparent.png")


def view(folder):
    """Features by the printed lines alone, beside those of the program; JPEG decoders may round differently."""
    import numpy

    folder = pathlib.Path(folder)
    sys.path.insert(0, str(folder))
    space = {}
    exec((folder / "snippet.py").read_text(), space)
    model, ours = without_classifier(space["model"]), numpy.load(folder / "f.npy")
    names = [line.split("\t")[0] for line in (folder / "f.tsv").read_text().splitlines()[1:]]
    assert len(names) == len(ours) > 0
    for name, features in zip(names, ours):
        theirs = model(space["view"](folder / "images" / name))[0].numpy()
        difference = abs(theirs - features).mean() / abs(features).mean()
        print(f"{name}: features differ by {difference:.5f} of their mean (torchvision {torchvision.__version__})")
        assert difference < 1e-4, name


with torch.no_grad():
    {"images": images, "view": view, "compare": compare, "make": make, "embeddings": embeddings}[sys.argv[1]](sys.argv[2])
