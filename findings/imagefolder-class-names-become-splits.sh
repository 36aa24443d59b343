#!/usr/bin/env bash
# `datasets`' imagefolder takes a class or file whose name begins with a split word for a split, and drops all other images.
#
# datasets 5.2.0 with Pillow 13.0.0, Python 3.11: with class folders test_tube/, train_station/ and cat/, the first two become the
# splits "test" and "train", the label of train_station is lost, and both images of cat/ are in no split. One file test_3.png among
# others makes a data set of one split with that one image. A capital letter hides a split word: Training/ and Testing/ are both
# read as "train", so a model is tested on what it was trained on. Nothing is printed in any of these cases.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet datasets==5.2.0 pillow==13.0.0

cat >"$folder/layouts.py" <<'PYTHON'
import pathlib
import sys

import datasets
from PIL import Image

LAYOUTS = {
    "classes": ["test_tube/1.png", "train_station/1.png", "cat/1.png", "cat/2.png"],
    "a file": ["cat/1.png", "cat/2.png", "dog/1.png", "dog/test_3.png"],
    "capitals": ["Training/cat/1.png", "Training/dog/1.png", "Testing/cat/1.png", "Testing/dog/1.png"],
}

datasets.disable_progress_bars()
for number, (name, files) in enumerate(LAYOUTS.items()):
    root = pathlib.Path(sys.argv[1]) / f"layout{number}"
    for value, file in enumerate(files):
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (20 * value, 0, 0)).save(path)
    for split, table in sorted(datasets.load_dataset("imagefolder", data_dir=str(root)).items()):
        feature = table.features.get("label")
        labels = feature and [None if label is None else feature.int2str(label) for label in table["label"]]
        print(f"{name}: {len(files)} images; split {split}: {len(table)}, labels {labels}")
PYTHON

cat >"$folder/expected" <<'TEXT'
classes: 4 images; split test: 1, labels ['test_tube']
classes: 4 images; split train: 1, labels [None]
a file: 4 images; split test: 1, labels None
capitals: 4 images; split train: 4, labels ['cat', 'dog', 'cat', 'dog']
TEXT

export HF_HUB_OFFLINE=1 HF_HOME="$folder/home"
"$folder/venv/bin/python" "$folder/layouts.py" "$folder" 2>"$folder/warnings" | tee "$folder/seen"
diff "$folder/expected" "$folder/seen" && echo "as expected"
