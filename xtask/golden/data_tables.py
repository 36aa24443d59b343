"""Parquet files and tar archives of the kinds that people have: label columns of every type, compressions, columns of several
images, rows without bytes (pyarrow); archives of macOS, upper case, labels apart (tarfile, read by webdataset).

Usage: python data_tables.py FOLDER   (needs pillow, pyarrow and webdataset; made with pyarrow 26.0.1 and webdataset 1.0.2)

Image i is 5 x 4 pixels of the color (i, 10 * (i modulo 3), 7).
"""

import datetime
import io
import math
import sys
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import webdataset as wds
from PIL import Image

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def picture(i, kind="PNG", size=(5, 4)):
    out = io.BytesIO()
    Image.new("RGB", size, (i % 256, 10 * (i % 3), 7)).save(out, kind)
    return out.getvalue()


def images(count):
    return pa.array([{"bytes": picture(i), "path": f"{i}.png"} for i in range(count)], IMAGE)


def tables(folder):
    folder.mkdir()
    # Every type a label column may have, in one file; the data string chooses one.
    signed, unsigned = [0, 1, None, -1, 2, 0], [0, 1, None, 3, 2, 0]
    words = ["cat", "dog", None, "", "ant", "cat"]
    columns = {"image": images(6)}
    columns |= {f"int{bits}": pa.array(signed, f"int{bits}") for bits in (8, 16, 32, 64)}
    columns |= {f"uint{bits}": pa.array(unsigned, f"uint{bits}") for bits in (8, 16, 32, 64)}
    columns |= {f"float{bits}": pa.array([0.0, 1.0, None, -1.0, 2.0, math.nan], f"float{bits}") for bits in (32, 64)}
    columns |= {
        "bool": pa.array([False, True, None, True, False, False]),
        "string": pa.array(words),
        "large_string": pa.array(words, pa.large_string()),
        "string_view": pa.array(words, pa.string_view()),
        "dictionary": pa.array(words).dictionary_encode(),
        "dictionary_of_integers": pa.array(signed).dictionary_encode(),
        "null": pa.nulls(6),
        "list": pa.array([[0, 1]] * 6),
        "half": pa.array([0.0, 0.5] * 3),
        "date": pa.array([datetime.date(2024, 1, 1)] * 6),
        "below": pa.array([0, 1, -2, 0, 1, 2]),
    }
    pq.write_table(pa.table(columns), folder / "kinds.parquet", compression="zstd")

    # Words that differ between the splits; the test split has a missing one.
    for split, labels in (("train", ["dog", "cat", "dog"]), ("test", ["cow", None, "dog"])):
        pq.write_table(pa.table({"image": images(3), "label": labels}), folder / f"words-{split}.parquet")
    # One missing value makes floats of pandas' integers, in one split only.
    for split, labels in (("train", pa.array([0, 1, 2])), ("test", pa.array([1.0, None, 3.0]))):
        pq.write_table(pa.table({"image": images(3), "label": labels}), folder / f"pandas-{split}.parquet")
    # Label columns that are lists, or measurements.
    pq.write_table(pa.table({"image": images(3), "labels": [[0, 1], [1], []]}), folder / "lists.parquet")
    pq.write_table(pa.table({"image": images(3), "target": [0.0, 2.5, 1.0]}), folder / "measured.parquet")

    for compression in ("gzip", "brotli"):
        table = pa.table({"image": images(6), "label": [i % 3 for i in range(6)]})
        pq.write_table(table, folder / f"{compression}.parquet", compression=compression)
        # 60,000 equal rows; 12 kB each of them in the other file.
        for name, image, count in (("rows", picture(0), 60_000), ("bmps", picture(1, "BMP", (64, 64)), 3_000)):
            table = pa.table({"image": pa.array([image] * count), "label": [0] * count})
            packed = "zstd" if compression == "gzip" else "brotli"
            pq.write_table(table, folder / f"equal-{name}-{packed}.parquet", compression=packed, use_dictionary=False)

    # Another column of pictures, whole and alone; two of which none is called an image.
    small = pa.array([{"bytes": b"small", "path": None}] * 3, IMAGE)
    plain = pa.array([picture(i) for i in range(3)])
    pq.write_table(pa.table({"thumbnail": small, "image": plain}), folder / "thumbnail.parquet")
    pq.write_table(pa.table({"left": small, "right": plain}), folder / "two.parquet")

    # Rows that hold paths only; rows that repeat one picture.
    paths = pa.array([{"bytes": None, "path": f"{i}.png"} for i in range(24)], IMAGE)
    pq.write_table(pa.table({"image": paths}), folder / "paths.parquet")
    repeated = pa.array([{"bytes": picture(1), "path": None}] * 5000, IMAGE)
    pq.write_table(pa.table({"image": repeated}), folder / "repeated.parquet", compression="zstd")


def tars(folder):
    folder.mkdir()
    fork = b"\0\5\x16\7\xff" + b"\0" * 60
    members = []
    for i in range(2):
        members += [(f"./._{i}.png", fork), (f"./{i}.png", picture(i)), (f"./._{i}.cls", fork), (f"./{i}.cls", b"%d" % i)]
    members += [("__MACOSX/._3.png", fork), ("up/3.PNG", picture(3)), ("up/3.CLS", b" 0\n"), ("up/4.cls", b"-1"), ("up/4.png", picture(4))]
    members += [("v1.0/" + "n" * 120 + ".png", picture(5)), ("v1.0/" + "n" * 120 + ".cls", b"2")]
    with tarfile.open(folder / "odd.tar", "w", format=tarfile.PAX_FORMAT) as out:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            out.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "up/3.PNG"
        out.addfile(link)
    # What webdataset makes of it: the key and the label of each sample with an image.
    samples = wds.WebDataset(str(folder / "odd.tar"), shardshuffle=False)
    rows = [f"{s['__key__']}\t{s['cls'].decode().strip() if 'cls' in s else ''}\n" for s in samples if "png" in s]
    (folder / "odd.tsv").write_text("".join(rows))


main = Path(sys.argv[1])
tables(main / "tables")
tars(main / "tars")
