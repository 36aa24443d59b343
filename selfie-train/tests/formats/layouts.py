"""Splits and labels of small folders of images as `datasets` reads them: python layouts.py > layouts.json"""
import json, os, pathlib, tempfile

os.environ["HF_HOME"] = tempfile.mkdtemp()
import datasets
from PIL import Image

datasets.disable_progress_bars()
datasets.logging.set_verbosity_error()

LAYOUTS = {
    "what macOS adds to archives": "train/cat/1.png train/dog/1.png __MACOSX/train/cat/._1.jpg",
    "a folder without images": "train/cat/1.png train/dog/1.png annotations/a.xml",
    "training_set": "training_set/cat/1.png training_set/dog/1.png training_set/dog/2.png test_set/cat/3.png test_set/dog/1.png",
    "training_set twice": "training_set/training_set/cats/1.png training_set/training_set/dogs/1.png "
    "test_set/test_set/cats/3.png test_set/test_set/dogs/1.png",
    "dev": "train/a/1.png train/b/1.png dev/a/2.png dev/b/3.png",
    "eval": "train/a/1.png train/b/1.png eval/a/2.png eval/b/2.png",
    "evaluation": "training/a/1.png training/b/1.png evaluation/b/2.png evaluation/a/2.png",
    "a chain above the splits": "archive/x/train/a/1.png archive/x/train/b/1.png archive/x/val/a/1.png archive/x/test/b/1.png",
    "seg_train": "seg_train/seg_train/sea/1.png seg_train/seg_train/ice/1.png seg_test/seg_test/sea/2.png seg_pred/seg_pred/9.png",
    "val alone": "val/a/1.png val/b/1.png",
    "YOLO": "train/images/1.png train/labels/1.txt valid/images/2.png valid/labels/2.txt test/images/3.png test/labels/3.txt",
    "years": "train2017/a/1.png train2017/b/2.png val2017/a/3.png val2017/b/3.png",
    "classes": "cat/1.png dog/1.png",
    "flat": "1.png 2.png",
    "a chain above the classes": "PetImages/Cat/1.png PetImages/Dog/1.png",
    "a further split": "train/a/1.png train/b/1.png extra/a/5.png",
    "a further split without labels": "train/a/1.png train/b/1.png unlabeled/5.png unlabeled/6.png test/a/9.png test/b/9.png",
    "names of files": "train_1.png train_2.png test_1.png",
    "words at the end of names": "a_train.png b_train.png c_test.png",
    "words in names": "img_testing_3.png img_training_4.png",
    "validation in names": "train1.png val1.png test1.png",
    "names of files in folders of classes": "cat/train_1.png dog/train_2.png cat/test_1.png",
    "words inside of other words": "latest_1.png contest.png",
}


def read(files):
    root = pathlib.Path(tempfile.mkdtemp())
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".png"):
            Image.new("RGB", (2, 2)).save(path)
        else:
            path.write_text("x")
    splits = {}
    for split, images in datasets.load_dataset("imagefolder", data_dir=str(root)).items():
        names = images.features["label"].names if "label" in images.features else None
        splits[split] = [None if label is None else names[label] for label in images["label"]] if names else [None] * len(images)
    return splits


layouts = [dict(name=name, files=files.split(), splits=read(files.split())) for name, files in LAYOUTS.items()]
lines = ",\n".join("  " + json.dumps(layout) for layout in layouts)
print(f'{{"datasets": "{datasets.__version__}", "layouts": [\n{lines}\n]}}')
