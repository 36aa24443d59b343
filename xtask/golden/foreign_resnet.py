"""A small ResNet as PyTorch saves it, and what PyTorch makes of two images: python foreign_resnet.py OUT_DIR

Writes OUT_DIR/foreign_{v1_5,v2}.pth (width 2, one bottleneck a stage, 3 classes, running statistics that are not trivial)
and OUT_DIR/foreign_{v1_5,v2}.safetensors: images (B, C, H, W), features (B, D), logits (B, classes). The networks are the
modules that `selfie export` writes beside its files.
"""

import pathlib
import sys

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "selfie-eval/src/export"))
import resnet_v1_5  # noqa: E402
import resnet_v2  # noqa: E402

out = pathlib.Path(sys.argv[1])


def randomised(model, generator):
    """Every tensor drawn anew, so that no norm is the identity."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2, generator=generator)
            elif tensor.is_floating_point():
                scale = 1 if tensor.dim() < 2 else tensor[0].numel() ** -0.5
                tensor.normal_(0, scale, generator=generator)
    return model.eval()


for name, module in [("v1_5", resnet_v1_5), ("v2", resnet_v2)]:
    generator = torch.Generator().manual_seed(0)
    shape = dict(channels=3, width=2, depths=[1, 1, 1, 1], small_stem=name == "v2", classes=3)
    model = randomised(module.ResNet(**shape), generator)
    torch.save(model.state_dict(), out / f"foreign_{name}.pth")
    images = torch.randn(2, 3, 32, 32, generator=generator)
    with torch.no_grad():
        logits = model(images)
        (model if name == "v1_5" else model.head).fc = torch.nn.Identity()
        features = model(images)
    save_file({"images": images, "features": features, "logits": logits}, out / f"foreign_{name}.safetensors")
