"""The ResNet of SHAPE under torchvision's names, for a shape that torchvision does not build.

model = load("FILE.safetensors"); model(images) are logits, or features where the file has no classifier.
"""

from safetensors.torch import load_file
from torch import nn

SHAPE = dict(channels=3, width=64, depths=[3, 4, 6, 3], small_stem=False, classes=0)


class Bottleneck(nn.Module):
    def __init__(self, c_in, mid, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c_in, mid, 1, bias=False), nn.BatchNorm2d(mid)
        self.conv2, self.bn2 = nn.Conv2d(mid, mid, 3, stride, 1, bias=False), nn.BatchNorm2d(mid)
        self.conv3, self.bn3 = nn.Conv2d(mid, 4 * mid, 1, bias=False), nn.BatchNorm2d(4 * mid)
        self.downsample = None
        if stride != 1 or c_in != 4 * mid:
            self.downsample = nn.Sequential(nn.Conv2d(c_in, 4 * mid, 1, stride, bias=False), nn.BatchNorm2d(4 * mid))

    def forward(self, x):
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        return (self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x))).relu()


class ResNet(nn.Sequential):
    def __init__(self, channels, width, depths, small_stem, classes):
        super().__init__()
        kernel, stride = (3, 1) if small_stem else (7, 2)
        self.conv1, self.bn1 = nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(width)
        self.relu, self.maxpool = nn.ReLU(), nn.Identity() if small_stem else nn.MaxPool2d(3, 2, 1)
        c_in = width
        for stage, depth in enumerate(depths):
            mid, blocks = width * 2**stage, []
            for block in range(depth):
                blocks.append(Bottleneck(c_in, mid, 2 if stage > 0 and block == 0 else 1))
                c_in = 4 * mid
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.avgpool, self.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        if classes:
            self.fc = nn.Linear(c_in, classes)


def load(file):
    model = ResNet(**SHAPE)
    model.load_state_dict(load_file(file), strict=True)
    return model.eval()
