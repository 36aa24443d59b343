#!/usr/bin/env bash
# A strict load does not show that weights belong to a network: timm's anti-aliased ResNets have the tensors of its resnet50.
#
# timm 1.0.31, torch 2.15.0, Python 3.11: resnetaa50 and resnetblur50 downsample by layers without stored tensors (average pooling, a
# fixed blur kernel that is not in the state_dict). Their state_dicts have the 320 names and shapes of resnet50, so
# resnet50.load_state_dict(..., strict=True) accepts them and returns other logits, without a warning; so does resnet50 with
# output_stride=16. Only the name of the model, which a weights file does not contain, tells them apart. resnet50_gn and seresnet50
# are refused, because their names differ.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.15.0 timm==1.0.31

cat >"$folder/load.py" <<'PYTHON'
import timm
import torch

torch.manual_seed(0)
images = torch.randn(1, 3, 224, 224)
for name, options in [
    ("resnetaa50", {}),
    ("resnetblur50", {}),
    ("resnet50", {"output_stride": 16}),
    ("resnet50_gn", {}),
    ("seresnet50", {}),
]:
    torch.manual_seed(0)
    source = timm.create_model(name, pretrained=False, zero_init_last=False, **options).eval()
    target = timm.create_model("resnet50", pretrained=False).eval()
    label = " ".join([name, *(f"{key}={value}" for key, value in options.items())])
    try:
        target.load_state_dict(source.state_dict(), strict=True)
    except RuntimeError:
        print(f"{label}: refused")
        continue
    with torch.no_grad():
        difference = (source(images) - target(images)).norm() / source(images).norm()
    print(f"{label}: {len(source.state_dict())} tensors, accepted; logits differ: {bool(difference > 0.01)}")
PYTHON

cat >"$folder/expected" <<'TEXT'
resnetaa50: 320 tensors, accepted; logits differ: True
resnetblur50: 320 tensors, accepted; logits differ: True
resnet50 output_stride=16: 320 tensors, accepted; logits differ: True
resnet50_gn: refused
seresnet50: refused
TEXT

HF_HUB_OFFLINE=1 "$folder/venv/bin/python" "$folder/load.py" | tee "$folder/seen"
diff "$folder/expected" "$folder/seen" && echo "as expected"
