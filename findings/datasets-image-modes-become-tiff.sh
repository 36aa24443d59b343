#!/usr/bin/env bash
# Hugging Face `datasets` stores some images of its Image feature as TIFF, although nobody asked for TIFF.
#
# datasets 5.2.0 with Pillow 13.0.0, Python 3.11: an image that was opened from a file keeps the file's format. As soon as it is
# resized or otherwise made in memory, the mode decides: 1, L, LA, RGB and RGBA become PNG, and P, PA, CMYK, F and I;16 become
# TIFF; HSV is an error. A folder of palette GIFs that is mapped through `resize` thus turns into parquet files full of TIFF, and
# a reader that supports JPEG and PNG only loses those images.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet datasets==5.2.0 pillow==13.0.0

cat >"$folder/modes.py" <<'PYTHON'
import io

from datasets import Dataset, Features, Image
from PIL import Image as Pillow


def stored(image):
    """Format of the bytes that the Image feature stores for `image`."""
    table = Dataset.from_dict({"image": [image]}, features=Features({"image": Image()}))
    cell = table.with_format("arrow")[0]["image"].to_pylist()[0]
    return Pillow.open(io.BytesIO(cell["bytes"])).format


for mode in ["1", "L", "LA", "RGB", "RGBA", "P", "PA", "CMYK", "F", "I;16", "HSV"]:
    try:
        print(mode, stored(Pillow.new(mode, (32, 32))))
    except OSError as error:
        print(mode, "error:", error)

file = io.BytesIO()
Pillow.new("P", (32, 32)).save(file, "GIF")
opened = Pillow.open(io.BytesIO(file.getvalue()))
print("GIF file", stored(opened))
print("GIF file, resized", stored(opened.resize((16, 16))))
PYTHON

cat >"$folder/expected" <<'TEXT'
1 PNG
L PNG
LA PNG
RGB PNG
RGBA PNG
P TIFF
PA TIFF
CMYK TIFF
F TIFF
I;16 TIFF
HSV error: cannot write mode HSV as TIFF
GIF file GIF
GIF file, resized TIFF
TEXT

HF_HUB_OFFLINE=1 "$folder/venv/bin/python" "$folder/modes.py" | tee "$folder/seen"
diff "$folder/expected" "$folder/seen" && echo "as expected"
