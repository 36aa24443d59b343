"""Golden values of the trunk: python encoder.py OUT_DIR

Writes OUT_DIR/{small,imagenet,v2}.safetensors for narrow, shallow trunks in training mode: the weights under the names
that the crate uses, images (B, C, H, W), embeddings (B, D) in training and in evaluation mode (running statistics as
before the step), each parameter's gradient of sum(embedding * direction), and the running statistics after the step.
v1.5 is the peer's trunk (xtask/peer/selfie_torch.py, torchvision's bottleneck); v2 is the pre-activation bottleneck of
timm's resnetv2, written out here.
"""

import pathlib
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peer"))
from selfie_torch import PatchEncoder  # noqa: E402


class Projection(nn.Module):
    def __init__(self, inp, out, stride):
        super().__init__()
        self.conv = nn.Conv2d(inp, out, 1, stride, bias=False)

    def forward(self, x):
        return self.conv(x)


class V2(nn.Module):
    def __init__(self, inp, mid, stride):
        super().__init__()
        out = 4 * mid
        self.norm1, self.conv1 = nn.BatchNorm2d(inp), nn.Conv2d(inp, mid, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(mid), nn.Conv2d(mid, mid, 3, stride, 1, bias=False)
        self.norm3, self.conv3 = nn.BatchNorm2d(mid), nn.Conv2d(mid, out, 1, bias=False)
        self.downsample = Projection(inp, out, stride) if stride != 1 or inp != out else None

    def forward(self, x):
        active = F.relu(self.norm1(x))
        shortcut = x if self.downsample is None else self.downsample(active)
        y = self.conv1(active)
        y = self.conv2(F.relu(self.norm2(y)))
        return self.conv3(F.relu(self.norm3(y))) + shortcut


def stages(width, depths):
    inp = width
    for s, depth in enumerate(depths):
        mid = width * 2**s
        blocks = [V2(inp if b == 0 else 4 * mid, mid, 2 if s > 0 and b == 0 else 1) for b in range(depth)]
        inp = 4 * mid
        yield blocks


class StagesV2(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x):
        return self.blocks(x)


class TrunkV2(nn.Module):
    def __init__(self, width, depths):
        super().__init__()
        self.stem = nn.Sequential()
        self.stem.add_module("conv", nn.Conv2d(3, width, 7, 2, 3, bias=False))
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.stages = nn.Sequential(*(StagesV2(blocks) for blocks in stages(width, depths)))
        self.norm = nn.BatchNorm2d(4 * width * 2 ** (len(depths) - 1))

    def forward(self, x):
        return F.relu(self.norm(self.stages(self.pool(self.stem(x))))).mean((2, 3))


def write(model, shape, path):
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1:
                p.add_(0.2 * torch.randn_like(p))
        for name, b in model.named_buffers():
            if name.endswith("running_mean"):
                b.add_(0.1 * torch.randn_like(b))
            elif name.endswith("running_var"):
                b.add_(0.5 * torch.rand_like(b))
    images = torch.randn(shape)
    tensors = {f"weight.{k}": v.clone() for k, v in model.state_dict().items() if not k.endswith("tracked")}
    model.eval()
    tensors["out.eval"] = model(images).detach()
    model.train()
    embedding = model(images)
    direction = torch.randn_like(embedding)
    (embedding * direction).sum().backward()
    tensors |= {"in.images": images, "in.direction": direction, "out.train": embedding.detach()}
    tensors |= {f"grad.{k}": p.grad for k, p in model.named_parameters()}
    tensors |= {f"after.{k}": v for k, v in model.state_dict().items() if "running" in k}
    save_file({k: v.contiguous() for k, v in tensors.items()}, path)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.splitlines()[0])
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    write(PatchEncoder(4, "small", (2, 1, 1)), (6, 3, 8, 8), out / "small.safetensors")
    write(PatchEncoder(4, "imagenet", (1, 2, 1)), (3, 3, 37, 32), out / "imagenet.safetensors")
    write(TrunkV2(4, (2, 1, 1)), (3, 3, 33, 40), out / "v2.safetensors")


if __name__ == "__main__":
    main()
