#!/usr/bin/env bash
# In a tar archive that macOS made of a folder, webdataset separates images from their labels.
#
# webdataset 1.0.2 (with numpy 2.3.5 and PyYAML 6.0.3), Python 3.11: macOS puts photos/._1.png, the file's attributes, before
# photos/1.png. At the top level such members are passed over, since their names begin with a dot. In a folder they are not: the key
# of photos/._1.png is "photos/" with the field "_1.png". Samples are made of neighbors with equal keys, so photos/1.png and
# photos/1.cls, which the attributes of the latter now lie between, become two samples: an image without a label, and a label.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet webdataset==1.0.2 numpy==2.3.5 pyyaml==6.0.3

cat >"$folder/samples.py" <<'PYTHON'
import io
import sys
import tarfile

import webdataset


def samples(file, prefix):
    names = [f"{prefix}{dots}{name}" for name in ["1.png", "1.cls", "2.png", "2.cls"] for dots in ["._", ""]]
    with tarfile.open(file, "w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 1
            archive.addfile(member, io.BytesIO(b"0"))
    for sample in webdataset.WebDataset(file, shardshuffle=False):
        yield sample["__key__"], sorted(key for key in sample if not key.startswith("__"))


for prefix in ["", "photos/"]:
    print(f"'{prefix}':", list(samples(f"{sys.argv[1]}/shard.tar", prefix)))
PYTHON

cat >"$folder/expected" <<'TEXT'
'': [('1', ['cls', 'png']), ('2', ['cls', 'png'])]
'photos/': [('photos/', ['_1.png']), ('photos/1', ['png']), ('photos/', ['_1.cls']), ('photos/1', ['cls']), ('photos/', ['_2.png']), ('photos/2', ['png']), ('photos/', ['_2.cls']), ('photos/2', ['cls'])]
TEXT

"$folder/venv/bin/python" "$folder/samples.py" "$folder" | tee "$folder/seen"
diff "$folder/expected" "$folder/seen" && echo "as expected"
