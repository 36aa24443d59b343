"""Small data sets as other programs write them: the hub's parquet files (pyarrow), downsampled ImageNet (numpy), WebDataset
shards (webdataset), a GNU tar, the table of ImageNet's development kit (scipy).

Usage: python data_formats.py FOLDER   (needs numpy, pillow, pyarrow, scipy and webdataset; their versions show in the bytes)

Image i of a split, counted over its shards, is 5 x 4 pixels of the colour (i, 10 * label, 7 for train and 9 for the test split);
its label is i modulo 3. The row images of downsampled ImageNet are 4 x 4, their byte at channel c, row y, column x is
(i + 64 c + 4 y + x) modulo 256.
"""

import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.io
import webdataset as wds
from PIL import Image

NAMES = ["ant", "bee", "cat"]


def png(i, split):
    colour = (i, 10 * (i % 3), 7 if split == "train" else 9)
    out = io.BytesIO()
    Image.new("RGB", (5, 4), colour).save(out, "PNG")
    return out.getvalue()


def parquet(path, first, count, split, row_group, names=NAMES, label="label", compression="snappy"):
    numbers = range(first, first + count)
    images = [{"bytes": png(i, split), "path": f"{i}.png" if i % 2 else None} for i in numbers]
    column = "img" if "cifar" in str(path) else "image"
    table = pa.table(
        {
            column: pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            label: pa.array([i % 3 if split != "test" else -1 for i in numbers], pa.int64()),
        }
    )
    if names:
        features = {column: {"_type": "Image"}, label: {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=row_group, compression=compression)


def npz(path, first, count, save):
    i, c, y, x = np.ogrid[first : first + count, :3, :4, :4]
    data = ((i + 64 * c + 4 * y + x) % 256).astype(np.uint8).reshape(count, 48)
    save(path, data=data, labels=np.arange(first, first + count) % 3 + 1, mean=np.zeros(48))


def main(folder):
    # The hub: two shards to train on, in row groups of 4; other compressions; a file without names of classes.
    data = folder / "hub" / "data"
    parquet(data / "train-00000-of-00002.parquet", 0, 10, "train", 4)
    parquet(data / "train-00001-of-00002.parquet", 10, 6, "train", 4, compression="zstd")
    parquet(data / "validation-00000-of-00001.parquet", 0, 5, "validation", 4, compression="none")
    parquet(data / "test-00000-of-00001.parquet", 0, 3, "test", 4)
    parquet(folder / "plain.parquet", 0, 6, "train", 3, names=None, compression="lz4")
    parquet(folder / "other-label.parquet", 0, 3, "train", 3, label="fine_label")
    parquet(folder / "out-of-range.parquet", 0, 3, "train", 3, names=NAMES[:2])
    parquet(folder / "hub-cifar10" / "plain_text" / "train-00000-of-00001.parquet", 0, 4, "train", 2, names=None)

    # Downsampled ImageNet, the second batch packed.
    (folder / "imagenet32").mkdir()
    npz(folder / "imagenet32" / "train_data_batch_1.npz", 0, 5, np.savez)
    npz(folder / "imagenet32" / "train_data_batch_2.npz", 5, 4, np.savez_compressed)
    npz(folder / "imagenet32" / "val_data.npz", 0, 3, np.savez)

    # WebDataset shards, and a tar with long names.
    shards = folder / "webdataset"
    shards.mkdir()
    for name, first, count, split in [("train-000000", 0, 4, "train"), ("train-000001", 4, 3, "train"), ("val-000000", 0, 2, "val")]:
        with wds.TarWriter(str(shards / f"{name}.tar"), mtime=0, user="", group="") as out:
            for i in range(first, first + count):
                out.write({"__key__": f"{i:06d}", "png": png(i, split), "cls": i % 3})
    with tarfile.open(folder / "long-names.tar", "w", format=tarfile.GNU_FORMAT) as out:
        for i in range(3):
            content = png(i, "train")
            member = tarfile.TarInfo("n" * 120 + f"/{i}.PNG")
            member.size = len(content)
            out.addfile(member, io.BytesIO(content))

    # The development kit: a structure array of which two fields matter, as the real file packed.
    fields = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("children", "O")]
    rows = [(np.uint16(1), "n02", "kit fox", np.zeros((0, 0))), (2.0, "n01", "setter", np.array([[1.0, 300.0]]))]
    synsets = np.array([rows], dtype=fields).T
    kit = folder / "kit"
    kit.mkdir()
    # scipy writes the time into the first 116 bytes, which nobody reads.
    scipy.io.savemat(kit / "meta.mat", {"synsets": synsets}, do_compression=True)
    written = bytearray((kit / "meta.mat").read_bytes())
    written[:116] = b"MATLAB 5.0 MAT-file".ljust(116)
    (kit / "meta.mat").write_bytes(written)


main(Path(sys.argv[1]))
