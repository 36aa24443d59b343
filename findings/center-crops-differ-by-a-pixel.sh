#!/usr/bin/env bash
# The center crops of torchvision and timm are not those of transformers, albumentations and kornia.
#
# torchvision 0.29.2, timm 1.0.31, transformers 5.24.0, albumentations 2.0.8, kornia 0.9.0, Python 3.11: if the border to cut off
# is an odd number of pixels, torchvision and timm round half of it to the nearest even number, so the crop starts at 0, 2, 2, 4,
# 4 for borders of 1, 3, 5, 7, 9 pixels; the three others round down: 0, 1, 2, 3, 4. A photograph of 333 x 250 pixels, resized to
# 340 x 256 and cropped to 224, has an even border, one of 345 x 256 an odd one. Features of a network that was trained with
# one library and is used through another one then come from a crop that is shifted by one pixel, in one image of four if the
# long sides are spread evenly.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.15.0 torchvision==0.29.2 timm==1.0.31 transformers==5.24.0 albumentations==2.0.8 kornia==0.9.0

cat >"$folder/crops.py" <<'PYTHON'
import albumentations
import kornia
import numpy
import torch
from PIL import Image
from timm.data.transforms import CenterCropOrPad
from torchvision.transforms import v2
from transformers.image_transforms import center_crop

CROP = 224


def ramp(side):
    """An image whose value is the number of its column."""
    return numpy.broadcast_to(numpy.arange(side, dtype=numpy.uint8)[None, :, None], (side, side, 3)).copy()


def as_tensor(side):
    return torch.tensor(ramp(side)).permute(2, 0, 1)[None].float()


libraries = {
    "torchvision": lambda side: numpy.asarray(v2.CenterCrop(CROP)(Image.fromarray(ramp(side))))[0, 0, 0],
    "timm": lambda side: numpy.asarray(CenterCropOrPad(CROP)(Image.fromarray(ramp(side))))[0, 0, 0],
    "transformers": lambda side: center_crop(ramp(side), (CROP, CROP))[0, 0, 0],
    "albumentations": lambda side: albumentations.CenterCrop(CROP, CROP)(image=ramp(side))["image"][0, 0, 0],
    "kornia": lambda side: kornia.augmentation.CenterCrop(CROP)(as_tensor(side))[0, 0, 0, 0],
}
print("border", [1, 3, 5, 7, 9, 32])
for name, first_column in libraries.items():
    print(name, [round(float(first_column(CROP + border))) for border in [1, 3, 5, 7, 9, 32]])
PYTHON

cat >"$folder/expected" <<'TEXT'
border [1, 3, 5, 7, 9, 32]
torchvision [0, 2, 2, 4, 4, 16]
timm [0, 2, 2, 4, 4, 16]
transformers [0, 1, 2, 3, 4, 16]
albumentations [0, 1, 2, 3, 4, 16]
kornia [0, 1, 2, 3, 4, 16]
TEXT

NO_ALBUMENTATIONS_UPDATE=1 HF_HUB_OFFLINE=1 "$folder/venv/bin/python" "$folder/crops.py" | tee "$folder/seen"
diff "$folder/expected" "$folder/seen" && echo "as expected"
