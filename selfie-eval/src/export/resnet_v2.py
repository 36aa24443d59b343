"""The pre-activation ResNet of SHAPE under the names of timm's resnetv2, for a shape that timm has no name for.

model = load("FILE.safetensors"); model(images) are logits, or features where the file has no classifier.
"""

from collections import OrderedDict

from safetensors.torch import load_file
from torch import nn

SHAPE = dict(channels=3, width=64, depths=[3, 4, 6, 3], small_stem=False, classes=0)


def conv(c_in, c_out, kernel, stride=1):
    return nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)


class Bottleneck(nn.Module):
    def __init__(self, c_in, mid, stride):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(c_in), conv(c_in, mid, 1)
        self.norm2, self.conv2 = nn.BatchNorm2d(mid), conv(mid, mid, 3, stride)
        self.norm3, self.conv3 = nn.BatchNorm2d(mid), conv(mid, 4 * mid, 1)
        if stride != 1 or c_in != 4 * mid:
            self.downsample = nn.Sequential(OrderedDict(conv=conv(c_in, 4 * mid, 1, stride)))

    def forward(self, x):
        active = self.norm1(x).relu()
        y = self.conv2(self.norm2(self.conv1(active)).relu())
        shortcut = self.downsample(active) if hasattr(self, "downsample") else x
        return self.conv3(self.norm3(y).relu()) + shortcut


class ResNet(nn.Sequential):
    def __init__(self, channels, width, depths, small_stem, classes):
        pool = nn.Identity() if small_stem else nn.MaxPool2d(3, 2, 1)
        stem = OrderedDict(conv=conv(channels, width, 3) if small_stem else conv(channels, width, 7, 2), pool=pool)
        stages, c_in = [], width
        for stage, depth in enumerate(depths):
            mid, blocks = width * 2**stage, []
            for block in range(depth):
                blocks.append(Bottleneck(c_in, mid, 2 if stage > 0 and block == 0 else 1))
                c_in = 4 * mid
            stages.append(nn.Sequential(OrderedDict(blocks=nn.Sequential(*blocks))))
        head = OrderedDict(pool=nn.AdaptiveAvgPool2d(1))
        if classes:
            head["fc"] = nn.Conv2d(c_in, classes, 1)
        parts = dict(stem=nn.Sequential(stem), stages=nn.Sequential(*stages), norm=nn.BatchNorm2d(c_in), relu=nn.ReLU())
        super().__init__(OrderedDict(**parts, head=nn.Sequential(head), flatten=nn.Flatten()))


def load(file):
    model = ResNet(**SHAPE)
    model.load_state_dict(load_file(file), strict=True)
    return model.eval()
