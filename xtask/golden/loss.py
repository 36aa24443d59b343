"""Golden values of the loss: python loss.py OUT_DIR

Writes OUT_DIR/info_nce.safetensors: queries and targets (B, M, D) = (2, 3, 5) in f32, and for each kind of logits
(plain, scaled, cosine with temperature 0.1) the logits (B, M, M), the loss, and its gradient to queries and targets.
The golden file of selfie-loss (selfie-loss/tests/golden) is this program's output, made with PyTorch on a CPU.
"""

import math
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

TEMPERATURE = 0.1


def plain(v, h):
    return v @ h.transpose(1, 2)


def scaled(v, h):
    return plain(v, h) / math.sqrt(v.shape[-1])


def cosine(v, h):
    return plain(F.normalize(v, dim=-1), F.normalize(h, dim=-1)) / TEMPERATURE


def main(out_dir):
    torch.manual_seed(0)
    b, m, d = 2, 3, 5
    queries, targets = torch.randn(b, m, d), torch.randn(b, m, d)
    tensors = {"queries": queries, "targets": targets}
    labels = torch.arange(m).expand(b, m).reshape(-1)
    for kind in (plain, scaled, cosine):
        v, h = (x.clone().requires_grad_() for x in (queries, targets))
        logits = kind(v, h)  # (B, M, M)
        loss = F.cross_entropy(logits.reshape(b * m, m), labels)
        loss.backward()
        values = {"logits": logits, "loss": loss, "queries.grad": v.grad, "targets.grad": h.grad}
        tensors |= {f"{kind.__name__}.{name}": value.detach().contiguous() for name, value in values.items()}
    out_dir.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out_dir / "info_nce.safetensors")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python loss.py OUT_DIR")
    main(pathlib.Path(sys.argv[1]))
