"""Logistic regression by scikit-learn on the features that `embed` wrote: the figure beside `linear-eval`'s.

Usage: python xtask/peer/linear_sklearn.py train.safetensors test.safetensors --l2 1e-3
       (each from: cargo xtask embed --from RUN --data DATA --split train|test --features image --out FILE)

Same standardisation, same objective: mean cross-entropy + l2/2 |W|^2 is scikit-learn's C = 1 / (l2 n). Prints accuracy and seconds.
"""
import argparse
import json
import time

import numpy as np
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression


def read(path):
    tensors = load_file(path)
    kind = next(name for name in ("image", "patches") if name in tensors)
    return tensors[kind].astype(np.float64), tensors["labels"]


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("train")
parser.add_argument("test")
parser.add_argument("--l2", type=float, required=True, help="the strength that linear-eval chose")
args = parser.parse_args()
(x, y), (test_x, test_y) = read(args.train), read(args.test)
mean, std = x.mean(0), x.std(0)
std[std == 0] = 1
x, test_x = (x - mean) / std, (test_x - mean) / std
start = time.perf_counter()
model = LogisticRegression(C=1 / (args.l2 * len(x)), tol=1e-5, max_iter=10000).fit(x, y)
seconds = time.perf_counter() - start
print(json.dumps(dict(accuracy=model.score(test_x, test_y), seconds=round(seconds, 2), iterations=int(model.n_iter_[0]))))
