"""Golden values of the whole model: python model.py OUT_DIR

Writes OUT_DIR/{cifar10,imagenet224}.safetensors with the `reference` of xtask/peer/selfie_torch.py at width 2 (D = 32) in
the 32-pixel and the 224-pixel geometry: weights, inputs, h, u, v, logits, loss, all gradients, running statistics.
Files of any other size, for the ignored test of selfie-train/tests/golden.rs, come from that program itself:
python xtask/peer/selfie_torch.py reference --width 64 --out FILE
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peer"))
import selfie_torch  # noqa: E402
import torch  # noqa: E402


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.splitlines()[0])
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for name, image_size, patch_size, batch_size in (("cifar10", 32, 8, 2), ("imagenet224", 224, 32, 1)):
        selfie_torch.reference(argparse.Namespace(
            seed=0, image_size=image_size, patch_size=patch_size, width=2, batch_size=batch_size, scaled=False,
            out=str(out / f"{name}.safetensors")))


if __name__ == "__main__":
    main()
