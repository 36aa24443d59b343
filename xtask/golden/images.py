"""Golden images of selfie-train: python images.py OUT_DIR

Writes OUT_DIR/images.safetensors, all bytes: small image files of many kinds ("file.NAME") with the pixels that Pillow makes of them
("pixels.NAME", (H, W, C)); and one picture, resized and changed in colour by Pillow, as torchvision does it.

python images.py OUT_DIR FOLDER writes what Pillow makes of a folder of odd images instead, for the ignored test of
selfie-train/tests/odd_images.rs. FOLDER holds MANIFEST.tsv, whose first column lists files. OUT_DIR/index.tsv has a line
a file: path, "ok" or Pillow's error, mode, width, height, N; OUT_DIR/N.raw holds the RGB bytes, (H, W, 3).
Upright as EXIF says, transparency over white, 16 bits rounded to 8.
"""

import io
import pathlib
import struct
import sys
import warnings
import zlib

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
from safetensors.numpy import save_file

warnings.simplefilter("ignore")
Image.MAX_IMAGE_PIXELS = None


def picture(width, height):
    """A smooth picture with some detail, (H, W, 3)."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    waves = [np.sin(x / 5 + y / 11), np.cos(x / 9 - y / 4), np.sin((x * y) / 90)]
    return np.stack([127 + 100 * wave + 20 * (-1) ** (x // 7) for wave in waves], axis=2).round().astype(np.uint8)


def pixels(image):
    """The bytes that we expect of an image: (H, W, 3), upright, over white."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16-bit gray
        deep = np.asarray(image).astype(np.int64)
        gray = ((deep * 255 + 32767) // 65535).clip(0, 255).astype(np.uint8)
        return np.repeat(gray[:, :, None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def segments(jpeg):
    """The segments of a JPEG of one scan by marker, and the bytes of its scan without the end marker."""
    found, at = {}, 2
    while True:
        marker, length = jpeg[at + 1], struct.unpack(">H", jpeg[at + 2 : at + 4])[0]
        found.setdefault(marker, []).append(jpeg[at : at + 2 + length])
        at += 2 + length
        if marker == 0xDA:
            return found, jpeg[at:-2]


def single_component_scans(image):
    """A sequential JPEG with a scan for each of Y, Cb and Cr, made of three gray ones with the same tables."""
    parts = [segments(saved(plane, "JPEG", quality=90)) for plane in image.convert("YCbCr").split()]
    tables = parts[0][0]
    width, height = image.size
    frame = struct.pack(">BHHB", 8, height, width, 3) + b"".join(bytes([n, 0x11, 0]) for n in (1, 2, 3))
    out = b"\xff\xd8" + tables[0xE0][0] + b"".join(tables[0xDB]) + b"\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame
    out += b"".join(tables[0xC4])
    for n, (_, data) in enumerate(parts, 1):
        out += b"\xff\xda" + struct.pack(">H", 8) + bytes([1, n, 0, 0, 63, 0]) + data
    return out + b"\xff\xd9"


def png(rows, bits, colour, interlaced=False, palette=b""):
    """A PNG of the samples `rows`, (H, W, channels)."""

    def packed(part):
        line = part.reshape(part.shape[0], -1)
        if bits == 16:
            body = line.astype(">u2").view(np.uint8)
        elif bits == 8:
            body = line.astype(np.uint8)
        else:
            each = ((line[:, :, None] >> np.arange(bits - 1, -1, -1)) & 1).reshape(line.shape[0], -1)
            body = np.packbits(each.astype(np.uint8), axis=1)
        return b"".join(b"\0" + row.tobytes() for row in body)

    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    parts = [rows[y::dy, x::dx] for x, y, dx, dy in passes] if interlaced else [rows]
    data = b"".join(packed(part) for part in parts if part.size)

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], bits, colour, 0, 0, int(interlaced))
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    out += chunk(b"PLTE", palette) if palette else b""
    return out + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")


def files():
    """Small files of many kinds, by name."""
    colour = Image.fromarray(picture(29, 21))
    gray = colour.convert("L")
    found = {
        f"jpeg-4{a}{b}": saved(colour, "JPEG", quality=90, subsampling=f"4:{a}:{b}") for a, b in ((4, 4), (2, 2), (2, 0))
    }
    found |= {
        "jpeg-progressive": saved(colour, "JPEG", quality=90, progressive=True),
        "jpeg-restarts": saved(colour, "JPEG", quality=90, restart_marker_blocks=2),
        "jpeg-gray": saved(gray, "JPEG", quality=90),
        "jpeg-cmyk": saved(colour.convert("CMYK"), "JPEG", quality=90),
        "jpeg-single-component-scans": single_component_scans(colour),
    }
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x112] = orientation
        found[f"jpeg-turned-{orientation}"] = saved(colour, "JPEG", quality=90, subsampling=0, exif=exif)
        if orientation == 6:
            found["png-turned-6"] = saved(colour, "PNG", exif=exif)
            found["webp-turned-6"] = saved(colour, "WEBP", lossless=True, exif=exif)
    ramp = np.arange(13 * 9).reshape(9, 13, 1)
    for bits in (1, 2, 4, 8, 16):
        samples = ramp * 571 % (1 << bits)
        found[f"png-gray-{bits}"] = png(samples, bits, 0)
        found[f"png-gray-{bits}-interlaced"] = png(samples, bits, 0, interlaced=True)
        if bits <= 8:
            palette = bytes((n * 37 + c * 91) % 256 for n in range(1 << bits) for c in range(3))
            found[f"png-palette-{bits}"] = png(samples, bits, 3, interlaced=bits == 4, palette=palette)
    deep = (np.concatenate([ramp, ramp * 3, ramp * 7], axis=2) * 257) % 65536
    found["png-rgb-16"] = png(deep, 16, 2)
    found["png-rgb-16-interlaced"] = png(deep, 16, 2, interlaced=True)
    found["png-rgba-16"] = png(np.concatenate([deep, deep[:, :, :1]], axis=2), 16, 6)
    veil = Image.fromarray((picture(29, 21)[:, :, 0] // 2 * 2))
    veiled = Image.merge("RGBA", (*colour.split(), veil))
    found |= {
        "png-rgba": saved(veiled, "PNG"),
        "png-gray-alpha": saved(Image.merge("LA", (gray, veil)), "PNG"),
        "png-rgb-transparent-colour": saved(colour, "PNG", transparency=colour.getpixel((3, 4))),
        "png-palette-transparent": saved(colour.quantize(16), "PNG", transparency=3),
        "webp": saved(colour, "WEBP", quality=90),
        "webp-lossless-alpha": saved(veiled, "WEBP", lossless=True, exact=True),
        "bmp": saved(colour, "BMP"),
        "bmp-palette": saved(colour.quantize(16), "BMP"),
        "bmp-1": saved(gray.convert("1"), "BMP"),
        "gif": saved(colour.quantize(32), "GIF", save_all=True, append_images=[gray.quantize(8)]),
    }
    return found


def blur(image, sigma, size):
    """torchvision.transforms.functional.gaussian_blur of bytes (H, W, C), in f64."""
    places = np.linspace(-(size - 1) / 2, (size - 1) / 2, size)
    kernel = np.exp(-0.5 * (places / sigma) ** 2)
    kernel /= kernel.sum()
    half = size // 2
    out = np.pad(image.astype(np.float64), ((half, half), (half, half), (0, 0)), mode="reflect")
    out = sum(k * out[i : i + image.shape[0]] for i, k in enumerate(kernel))
    out = sum(k * out[:, i : i + image.shape[1]] for i, k in enumerate(kernel))
    return out.round().astype(np.uint8)


def hue(image, factor):
    """torchvision.transforms.functional.adjust_hue of a Pillow image."""
    h, s, v = image.convert("HSV").split()
    h = Image.fromarray(np.asarray(h) + np.int32(factor * 255).astype(np.uint8))
    return Image.merge("HSV", (h, s, v)).convert("RGB")


def views():
    """The picture, and what Pillow makes of it."""
    source = picture(91, 67)
    image = Image.fromarray(source)
    found = {"picture": source}
    for left, top, width, height, size in ((0, 0, 91, 67, 32), (11, 7, 64, 48, 32), (40, 30, 20, 25, 48), (5, 3, 80, 9, 24)):
        cut = image.crop((left, top, left + width, top + height))
        found[f"resized.{left}.{top}.{width}.{height}.{size}"] = cut.resize((size, size), Image.BILINEAR)
    # torchvision's Resize(36), CenterCrop(32)
    short = image.resize((36 * 91 // 67, 36), Image.BILINEAR)
    left, top = int(round((short.width - 32) / 2.0)), int(round((short.height - 32) / 2.0))
    found["centre.36.32"] = short.crop((left, top, left + 32, top + 32))
    small = image.crop((0, 0, 40, 33))
    found["small"] = small
    for factor in (0.6, 1.4):
        found[f"brightness.{factor}"] = ImageEnhance.Brightness(small).enhance(factor)
        found[f"contrast.{factor}"] = ImageEnhance.Contrast(small).enhance(factor)
        found[f"saturation.{factor}"] = ImageEnhance.Color(small).enhance(factor)
    for factor in (-0.2, 0.1):
        found[f"hue.{factor}"] = hue(small, factor)
    found["gray"] = small.convert("L").convert("RGB")
    found["blur.0.4.5"] = blur(np.asarray(small), 0.4, 5)
    found["blur.1.7.5"] = blur(np.asarray(small), 1.7, 5)
    return {name: np.asarray(value) for name, value in found.items()}


def golden(out):
    tensors = views()
    for name, data in files().items():
        tensors[f"file.{name}"] = np.frombuffer(data, np.uint8)
        with Image.open(io.BytesIO(data)) as image:
            tensors[f"pixels.{name}"] = pixels(image)
    out.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}, out / "images.safetensors")


def odd(out, folder):
    out.mkdir(parents=True, exist_ok=True)
    manifest = (folder / "MANIFEST.tsv").read_text(encoding="utf-8").splitlines()[1:]
    lines = []
    for number, path in enumerate(line.split("\t")[0] for line in manifest):
        try:
            with Image.open(folder / path) as image:
                image.seek(0)
                image.load()
                mode, found = image.mode, pixels(image)
        except Exception as error:  # whatever Pillow says
            lines.append(f"{path}\t{type(error).__name__}\t\t0\t0\t{number}")
            continue
        found.tofile(out / f"{number}.raw")
        lines.append(f"{path}\tok\t{mode}\t{found.shape[1]}\t{found.shape[0]}\t{number}")
    (out / "index.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        golden(pathlib.Path(sys.argv[1]))
    elif len(sys.argv) == 3:
        odd(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
    else:
        sys.exit("usage: python images.py OUT_DIR [FOLDER]")
