"""A file of torch.save with every kind of tensor that is read: python torch_save.py OUT_DIR

Writes OUT_DIR/torch_save.pth (the state_dict below a key, beside what training programs keep there) and
OUT_DIR/torch_save.safetensors, the same tensors as f32 under their plain names.
"""

import collections
import pathlib
import sys

import torch
from safetensors.torch import save_file

out = pathlib.Path(sys.argv[1])
generator = torch.Generator().manual_seed(0)
base = torch.randn(4, 3, 3, 2, generator=generator)
tensors = collections.OrderedDict(
    float=base[0],  # a view that begins its storage
    view=base[2, :, 1:],  # and one in the middle of it, with gaps
    channels_last=base.to(memory_format=torch.channels_last),
    transposed=torch.randn(5, 2, generator=generator).t(),
    double=torch.randn(3, generator=generator).double(),
    half=torch.randn(3, generator=generator).half(),
    bfloat=torch.randn(3, generator=generator).bfloat16(),
    count=torch.tensor(2**33),
    byte=torch.tensor([0, 200], dtype=torch.uint8),
    truth=torch.tensor([True, False]),
    scalar=torch.tensor(0.5),
    empty=torch.zeros(0, 3),
    weight=torch.nn.Parameter(torch.randn(2, 2, generator=generator)),
)
wrapped = {f"module.{name}": tensor for name, tensor in tensors.items()}
torch.save({"epoch": 3, "lr": 0.1, "steps": 2**40, "args": [None, True], "state_dict": wrapped}, out / "torch_save.pth")
plain = {name: tensor.detach().float().contiguous().clone() for name, tensor in tensors.items()}
save_file(plain, out / "torch_save.safetensors")
