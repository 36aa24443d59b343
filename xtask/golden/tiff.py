"""Golden TIFF files of selfie-train: python tiff.py OUT_DIR

Writes OUT_DIR/tiff.safetensors, all bytes: small TIFF files of many kinds ("file.NAME") with the pixels that Pillow makes of them
("pixels.NAME", (H, W, 3)). Pillow 13.0.0 wrote the file in the repository. "refused.NAME" are files that Pillow reads and we do not.
16 bits are rounded to 8, as in images.py; transparency is laid over white.
"""

import io
import pathlib
import struct
import sys

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from images import picture, pixels, saved

RAW_PALETTE = 3


def directory(entries, data, big=False):
    """A little- or big-endian TIFF of one directory: (tag, type, values), with the pixels `data`."""
    mark = ">" if big else "<"
    codes, sizes = {3: "H", 4: "I"}, {3: 2, 4: 4}
    offset = 8 + 2 + 12 * len(entries) + 4
    body, extra = b"", b""
    for tag, kind, values in entries:
        values = [offset + sum(len(v) * sizes[k] for _, k, v in entries if len(v) * sizes[k] > 4)] if tag == 273 else values
        packed = struct.pack(f"{mark}{len(values)}{codes[kind]}", *values)
        if len(packed) > 4:
            place = struct.pack(mark + "I", offset + len(extra))
            extra += packed
        else:
            place = packed.ljust(4, b"\0")
        body += struct.pack(mark + "HHI", tag, kind, len(values)) + place
    head = (b"MM\0*" if big else b"II*\0") + struct.pack(mark + "I", 8)
    return head + struct.pack(mark + "H", len(entries)) + body + struct.pack(mark + "I", 0) + extra + data


def plain(width, height, bits, photometric, data, *more, big=False):
    """A TIFF of one strip; `bits` of each sample."""
    entries = [
        (256, 4, [width]),
        (257, 4, [height]),
        (258, 3, bits),
        (259, 3, [1]),
        (262, 3, [photometric]),
        (273, 4, [0]),
        (277, 3, [len(bits)]),
        (278, 4, [height]),
        (279, 4, [len(data)]),
    ]
    return directory(sorted(entries + list(more)), data, big)


def main(out):
    colors = Image.fromarray(picture(9, 6))
    rgba = Image.fromarray(np.dstack([picture(9, 6), picture(9, 6)[:, ::-1, 0]]))
    palette = colors.quantize(40)
    deep = Image.fromarray((picture(9, 6)[:, :, 0].astype(np.uint16) * 257 + 19).astype(np.uint16))
    files = {}
    images = {"1": colors.convert("1"), "L": colors.convert("L"), "LA": rgba.convert("LA"), "RGB": colors, "RGBA": rgba}
    images |= {"RGBX": colors.convert("RGBX"), "CMYK": colors.convert("CMYK"), "P": palette, "PA": palette.convert("PA"), "I-16": deep}
    for name, image in images.items():
        files[f"{name}-raw"] = saved(image, "TIFF")
    for name, image in {"L": images["L"], "RGB": colors, "P": palette, "I-16": deep, "CMYK": images["CMYK"]}.items():
        files[f"{name}-lzw-predictor"] = saved(image, "TIFF", compression="tiff_lzw", tiffinfo={317: 2})
    for compression in ["tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "jpeg"]:
        files[f"RGB-{compression}"] = saved(colors, "TIFF", compression=compression)
    files["1-group4"] = saved(images["1"], "TIFF", compression="group4")
    files["pages"] = saved(colors, "TIFF", save_all=True, append_images=[rgba, palette])
    for code in (3, 6, 8):
        files[f"orientation-{code}"] = saved(colors, "TIFF", tiffinfo={274: code})
        files[f"orientation-P-{code}"] = saved(palette, "TIFF", tiffinfo={274: code})
    gray = np.asarray(images["L"])
    files["white-is-zero"] = plain(9, 6, [8], 0, (255 - gray).tobytes())
    nibbles = gray // 16
    padded = np.pad(nibbles, ((0, 0), (0, 1)))
    packed = (padded[:, ::2] * 16 + padded[:, 1::2]).astype(np.uint8).tobytes()
    files["gray-4"] = plain(9, 6, [4], 1, packed)
    table = np.random.default_rng(3).integers(0, 65536, (3, 16)).astype(int).flatten().tolist()
    for big in (False, True):
        more = (320, 3, table)
        files[f"palette-4-{'big' if big else 'little'}"] = plain(9, 6, [4], RAW_PALETTE, packed, more, big=big)
    planes = np.moveaxis(np.asarray(colors), 2, 0)
    entries = [(256, 4, [9]), (257, 4, [6]), (258, 3, [8] * 3), (259, 3, [1]), (262, 3, [2]), (277, 3, [3]), (278, 4, [6]), (284, 3, [2])]
    start = 8 + 2 + 12 * 10 + 4 + 6 + 12 + 12
    entries += [(270 + 3, 4, [start + i * 54 for i in range(3)]), (279, 4, [54] * 3)]
    files["planes"] = planar(sorted(entries), planes.tobytes())

    tensors = {}
    for name, data in files.items():
        image = Image.open(io.BytesIO(data))
        tensors[f"file.{name}"] = np.frombuffer(data, np.uint8)
        tensors[f"pixels.{name}"] = np.ascontiguousarray(pixels(image))
    refused = {"I": Image.fromarray(np.asarray(gray, np.int32) * 9), "F": Image.fromarray(np.asarray(gray, np.float32)), "LAB": colors.convert("LAB")}
    for name, image in refused.items():
        tensors[f"refused.{name}"] = np.frombuffer(saved(image, "TIFF"), np.uint8)
    tensors["refused.lzma"] = np.frombuffer(saved(colors, "TIFF", compression="lzma"), np.uint8)
    save_file(tensors, pathlib.Path(out) / "tiff.safetensors")
    print(f"{len(files)} files, {sum(len(t) for t in files.values())} bytes")


def planar(entries, data):
    """As `directory`, for three strips whose places are given."""
    body, extra, offset = b"", b"", 8 + 2 + 12 * len(entries) + 4
    for tag, kind, values in entries:
        packed = struct.pack(f"<{len(values)}{'H' if kind == 3 else 'I'}", *values)
        if len(packed) > 4:
            packed, extra = struct.pack("<I", offset + len(extra)), extra + packed
        body += struct.pack("<HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + struct.pack("<I", 0) + extra + data


if __name__ == "__main__":
    main(sys.argv[1])
