#!/usr/bin/env python3
"""Makes the golden files of selfie-attnpool with PyTorch: weights, inputs, u, queries and all gradients.

Usage: python xtask/golden/attnpool.py selfie-attnpool/tests/golden
       python xtask/golden/attnpool.py DIR --dim 1024 --heads 32 --ffn 640    (a check at full size, not committed)

Needs torch, numpy and safetensors. Writes full.safetensors (4x4 grid, one position a cell) and row-column.safetensors
(3x5 grid, row + column). f32, dropout 0. The gradients are those of sum(u * cotangent.u) + sum(queries * cotangent.queries).
Names: weight.NAME, grad.NAME with the crate's variable names; in.*, out.*, cotangent.*; grad.context; heads of the last
block's attention of u0 as out.attention.
"""
import argparse
import pathlib

import torch
import torch.nn as nn
from safetensors.torch import save_file


class AttentionPool(nn.Module):
    def __init__(self, dim, rows, cols, depth, heads, ffn, row_column):
        super().__init__()
        self.u0 = nn.Parameter(torch.randn(1, 1, dim))
        self.row_column, self.rows, self.cols = row_column, rows, cols
        if row_column:
            self.row, self.col = nn.Parameter(torch.randn(rows, dim)), nn.Parameter(torch.randn(cols, dim))
        else:
            self.pos = nn.Parameter(torch.randn(rows * cols, dim))
        layer = nn.TransformerEncoderLayer(dim, heads, ffn, 0.0, "gelu", batch_first=True)
        self.layers = nn.TransformerEncoder(layer, depth).layers

    def forward(self, context, context_index, target_index):
        pos = self.pos if not self.row_column else (self.row[:, None] + self.col[None]).flatten(0, 1)
        tokens = torch.cat([self.u0.expand(context.shape[0], -1, -1), context + pos[context_index]], 1)
        for layer in self.layers[:-1]:
            tokens = layer(tokens)
        last = self.layers[-1]
        _, attention = last.self_attn(tokens, tokens, tokens, need_weights=True, average_attn_weights=False)
        u = last(tokens)[:, 0]
        return u, u[:, None] + pos[target_index], attention[:, :, 0]


def write(path, a, rows, cols, row_column, seed):
    torch.manual_seed(seed)
    model = AttentionPool(a.dim, rows, cols, a.depth, a.heads, a.ffn, row_column)
    with torch.no_grad():
        for name, p in model.named_parameters():
            # Off the initial zeros and ones, so that every bias and norm weight counts.
            if p.dim() == 1:
                p.add_(0.1 * torch.randn_like(p))
    perm = torch.stack([torch.randperm(rows * cols) for _ in range(a.batch)])
    targets = rows * cols // 4
    target_index, context_index = perm[:, :targets], perm[:, targets:]
    context = torch.randn(a.batch, context_index.shape[1], a.dim, requires_grad=True)
    u, queries, attention = model(context, context_index, target_index)
    cotangent_u, cotangent_queries = torch.randn_like(u), torch.randn_like(queries)
    ((u * cotangent_u).sum() + (queries * cotangent_queries).sum()).backward()
    tensors = {f"weight.{k}": p for k, p in model.named_parameters()}
    tensors |= {f"grad.{k}": p.grad for k, p in model.named_parameters()}
    tensors |= {"in.context": context, "in.context_index": context_index.to(torch.uint32)}
    tensors |= {"in.target_index": target_index.to(torch.uint32), "grad.context": context.grad}
    tensors |= {"out.u": u, "out.queries": queries, "out.attention": attention}
    tensors |= {"cotangent.u": cotangent_u, "cotangent.queries": cotangent_queries}
    save_file({k: v.detach().contiguous() for k, v in tensors.items()}, path)
    print("wrote", path, path.stat().st_size // 1024, "KB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--dim", type=int, default=16)
    parser.add_argument("--heads", type=int, default=2)
    parser.add_argument("--ffn", type=int, default=10)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--batch", type=int, default=2)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    write(args.folder / "full.safetensors", args, 4, 4, False, 0)
    write(args.folder / "row-column.safetensors", args, 3, 5, True, 1)
