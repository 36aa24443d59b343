#!/usr/bin/env bash
# torch.load compares no checksum of the zip archive that torch.save writes, and torch.save can leave the checksums out.
#
# torch 2.15.0, Python 3.11: after one bit of a stored tensor is flipped, Python's zipfile reports a bad CRC-32, and torch.load
# returns another value without an error or a warning (weights_only True and False). After
# torch.serialization.set_crc32_options(False) every checksum in the archive is 0: torch.load reads it, and zipfile refuses each
# member. A reader of .pth files that relies on a zip library is thus stricter than PyTorch in the second case, and a program that
# relies on torch.load does not notice a damaged file in the first.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.15.0 numpy

cat >"$folder/checksums.py" <<'PYTHON'
import sys
import zipfile

import torch

assert torch.__version__.split("+")[0] == "2.15.0", torch.__version__
folder = sys.argv[1]
weights = {"weight": torch.arange(1.0, 7.0)}
whole, flipped, without = (f"{folder}/{name}.pth" for name in ("whole", "flipped", "without"))


def first_bad(file):
    """The first member whose content does not have its checksum."""
    return zipfile.ZipFile(file).testzip()


torch.save(weights, whole)
content = bytearray(open(whole, "rb").read())
at = content.find(weights["weight"].numpy().tobytes())
content[at + 2] ^= 0x40  # in the first value's mantissa
open(flipped, "wb").write(content)
assert first_bad(whole) is None
print("zipfile, one bit flipped: bad checksum of", first_bad(flipped))
assert first_bad(flipped).endswith("data/0")
for weights_only in (True, False):
    value = torch.load(flipped, weights_only=weights_only)["weight"][0].item()
    print(f"torch.load(weights_only={weights_only}), one bit flipped: {value} instead of 1.0, no error")
    assert value == 1.5

torch.serialization.set_crc32_options(False)
torch.save(weights, without)
members = zipfile.ZipFile(without).infolist()
assert all(member.CRC == 0 for member in members)
assert torch.equal(torch.load(without)["weight"], weights["weight"])
print(f"set_crc32_options(False): the checksums of all {len(members)} members are 0; torch.load reads the file")
try:
    zipfile.ZipFile(without).read(members[0])
except zipfile.BadZipFile as error:
    print("zipfile, checksums left out:", error)
else:
    raise SystemExit("zipfile reads a member whose checksum is 0")
PYTHON
"$folder/venv/bin/python" -W error::UserWarning:__main__ "$folder/checksums.py" "$folder"
