"""One small network in the files that training programs write: python foreign_files.py OUT_DIR

PyTorch 2.15, safetensors 0.8. The network has torchvision's names, width 2 and one bottleneck. OUT_DIR/foreign/plain.safetensors
contains its tensors under their plain names; every other file contains the same network behind some prefix, beside other things.
Files whose name begins with "refused" are rejected by torch.load(weights_only=True) or contain another network.
"""

import argparse
import collections
import pathlib
import re
import sys

import torch
from safetensors.torch import save_file

out = pathlib.Path(sys.argv[1]) / "foreign"
out.mkdir(parents=True)
generator = torch.Generator().manual_seed(0)


def network():
    """conv1, bn1 and layer1 of a ResNet-50 with width 2; num_batches_tracked as PyTorch has it."""
    tensors = collections.OrderedDict()

    def conv(name, *shape):
        tensors[f"{name}.weight"] = torch.randn(shape, generator=generator)

    def norm(name, channels):
        for part in ["weight", "bias", "running_mean", "running_var"]:
            tensors[f"{name}.{part}"] = torch.rand(channels, generator=generator) + 0.5
        tensors[f"{name}.num_batches_tracked"] = torch.tensor(7)

    conv("conv1", 2, 3, 7, 7)
    norm("bn1", 2)
    for i, shape in enumerate([(2, 2, 1, 1), (2, 2, 3, 3), (8, 2, 1, 1)], 1):
        conv(f"layer1.0.conv{i}", *shape)
        norm(f"layer1.0.bn{i}", shape[0])
    conv("layer1.0.downsample.0", 8, 2, 1, 1)
    norm("layer1.0.downsample.1", 8)
    return tensors


def behind(prefix, tensors):
    return collections.OrderedDict((prefix + name, tensor) for name, tensor in tensors.items())


plain = network()
other = network()  # of other values, such as a momentum encoder
parameter = torch.nn.Parameter(torch.zeros(3))
optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=0.9)
(parameter.sum()).backward()
optimizer.step()
scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [10, 10, 20])  # a Counter in its state

floats = {name: tensor for name, tensor in plain.items() if tensor.is_floating_point()}
save_file(floats, out / "plain.safetensors")

moco = behind("module.encoder_q.", plain)
moco.update({"module.encoder_q.fc.0.weight": torch.zeros(4, 8), "module.queue": torch.zeros(4, 5)})
moco.update(behind("module.encoder_k.", other))
torch.save(
    {"epoch": 3, "arch": "resnet50", "state_dict": moco, "best_acc1": torch.tensor([71.2]), "optimizer": optimizer.state_dict()},
    out / "moco.pth",
)
torch.save({"student": behind("module.backbone.", other), "teacher": behind("backbone.", plain)}, out / "dino.pth")
lightning = {"state_dict": behind("model._orig_mod.module.", plain), "loops": {}, "hyper_parameters": {"lr": 0.1}}
torch.save({**lightning, "lr_schedulers": [scheduler.state_dict()], "callbacks": [(1, None, -5, 2**70)]}, out / "lightning.ckpt")

children = {"conv1": "0", "bn1": "1", "layer1": "4"}
renamed = {children[name.split(".")[0]] + "." + name.split(".", 1)[1]: tensor for name, tensor in plain.items()}
torch.save({"state_dict": behind("backbone.", renamed)}, out / "sequential.pth")

extras = {
    "size": torch.Size([3, 4]),
    "device": torch.device("cpu"),
    "dtype": torch.float32,
    "set": {1, 2},
    "bytes": b"abc",
    "array": bytearray(b"abc"),
    "complex": 1 + 2j,
    "int8": torch.zeros(3, dtype=torch.int8),
    "uint16": torch.zeros(3, dtype=torch.uint16),
    "uint64": torch.zeros(3, dtype=torch.uint64),
    "complex64": torch.zeros(2, dtype=torch.complex64),
    "conjugated": torch.zeros(2, dtype=torch.complex64).conj(),
    "float8": torch.zeros(2).to(torch.float8_e4m3fn),
    "sparse": torch.eye(3).to_sparse(),
    "csr": torch.eye(3).to_sparse_csr(),
    "meta": torch.zeros(2, device="meta"),
    "quantized": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
    "numbers": [float("nan"), 2**70, -5, (1, 2, 3, 4)],
    "list": [plain["bn1.weight"]],
}
torch.save({"net": plain, "extras": extras}, out / "extras.pth")

# Every tensor as a view of one storage, and one that repeats a value: the file of torch.save before version 1.6.
flat = torch.cat([tensor.flatten() for tensor in floats.values()])
views, at = collections.OrderedDict(), 0
for name, tensor in floats.items():
    views[name] = flat[at : at + tensor.numel()].view_as(tensor)
    at += tensor.numel()
legacy = out / "legacy.pth"
torch.save({"model": views, "expanded": flat[:1].expand(4)}, legacy, _use_new_zipfile_serialization=False)
# The key of the storage is an address: another one in every process.
legacy.write_bytes(re.sub(rb"\d{13,}", lambda found: found[0].translate(bytes(48 if 48 <= i < 58 else i for i in range(256))), legacy.read_bytes()))

torch.serialization.set_crc32_options(False)
torch.save({"state_dict_ema": plain}, out / "no_checksums.pth")
torch.serialization.set_crc32_options(True)

beside = {"mask": torch.ones(3, dtype=torch.bool), "scale": torch.ones(3, dtype=torch.int8), "ids": torch.ones(3, dtype=torch.uint16)}
save_file({**behind("module.", plain), **beside}, out / "beside.safetensors")

torch.save({**plain, "layer1.0.se.fc1.weight": torch.zeros(2, 8, 1, 1)}, out / "refused_seresnet.pth")
torch.save({"model": plain, "args": argparse.Namespace(lr=0.1)}, out / "refused_namespace.pth")
nan = {name: tensor.clone() for name, tensor in plain.items()}
nan["layer1.0.conv2.weight"][1, 1, 0, 2] = float("nan")
torch.save(nan, out / "refused_nan.pth")

for file in sorted(out.glob("*.p*")) + sorted(out.glob("*.ckpt")):
    try:
        torch.load(file, weights_only=True)
        accepted = True
    except Exception:
        accepted = False
    assert accepted == (file.name != "refused_namespace.pth"), file
