"""The catalogue of datasets: an entry is all that registers one.

`iseg_cli.readers.registry` opens a dataset by its entry; `iseg info` and the tests also read it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from iseg_cli.config.presets import dataset_presets, require_dataset
from iseg_cli.readers import cityscapes, coco_object, cocostuff, context, folder, voc
from iseg_cli.readers.base import Reader
from iseg_cli.readers.coco import reader as coco
from iseg_cli.readers.coco.classes import FROM_JSON


@dataclass(frozen=True)
class DatasetInfo:
    """The entry of a dataset: what is known before it is opened.

    Attributes:
        name: the value of `--dataset`.
        description: one line for `iseg info`.
        reader: the reader's class, called with (root, split=...) and, if the dataset has several
            label sets, label_set=...
        splits: the names of its splits; VOC's layout may have further lists.
        default_split: the split without `--split`.
        label_sets: the names of its category tables, the default first; empty if the user names
            the categories.
        own_label_set: the name of the label set that its annotations make; None if they cannot.
        markers: folders or JSON files; a root has at least one of them.
        inside: paths of a root within a folder of datasets.
        embedded: whether it ships with iseg.
    """

    name: str
    description: str
    reader: Callable[..., Reader]
    splits: tuple[str, ...]
    default_split: str
    label_sets: tuple[str, ...]
    markers: tuple[str, ...]
    inside: tuple[str, ...] = ()
    own_label_set: str | None = None
    embedded: bool = False

    @property
    def environment(self) -> str:
        """The environment variable with its root: ISEG_VOC_ROOT, ISEG_EMOJI_VOC_ROOT ..."""
        return f"ISEG_{self.name.upper().replace('-', '_')}_ROOT"

    @property
    def presets(self) -> Mapping[str, str]:
        """Task -> the name of its default settings in configs/; the first task is its usual."""
        return dataset_presets(self.name)


_ALL = (
    DatasetInfo(
        name="voc",
        description="PASCAL VOC 2012: 20 classes and background",
        reader=voc.VocReader,
        splits=("train", "train_aug", "trainval", "val"),
        default_split="train",
        label_sets=("voc",),
        markers=("JPEGImages",),
        inside=("VOCdevkit/VOC2012", "VOC2012"),
    ),
    DatasetInfo(
        name="coco",
        description="COCO 2014 and 2017: 80 classes and background; or your own JSON and classes",
        reader=coco.CocoReader,
        splits=coco.SPLITS,
        default_split="train2014",
        label_sets=("coco",),
        markers=(
            "annotations",
            "images",
            *coco.SPLITS,
            "train/_annotations.coco.json",
            "valid/_annotations.coco.json",
        ),
        inside=("coco", "COCO", "coco2014", "coco2017"),
        own_label_set=FROM_JSON,
    ),
    DatasetInfo(
        name="coco-object",
        description="COCO-Object: COCO's 80 classes and background, on COCO 2017",
        reader=coco_object.CocoObjectReader,
        splits=coco_object.SPLITS,
        default_split="val2017",
        label_sets=("coco",),
        markers=("annotations", "images", *coco_object.SPLITS),
        inside=("coco", "COCO", "coco2017", "coco_stuff164k"),
    ),
    DatasetInfo(
        name="cocostuff27",
        description="COCO-Stuff in the 27 groups of unsupervised segmentation",
        reader=cocostuff.CocoStuffReader,
        splits=cocostuff.SPLITS,
        default_split="val",
        label_sets=("cocostuff27",),
        markers=("stuffthingmaps", "annotations/val2017", "annotation_val2017", "curated"),
        inside=("cocostuff", "coco_stuff164k", "coco", "COCO", "coco2017"),
    ),
    DatasetInfo(
        name="context",
        description="PASCAL-Context: 59 classes, or these and background",
        reader=context.ContextReader,
        splits=context.SPLITS,
        default_split="val",
        label_sets=context.LABEL_SETS,
        markers=("ImageSets/SegmentationContext", "SegmentationClassContext"),
        inside=("VOCdevkit/VOC2010", "VOC2010"),
    ),
    DatasetInfo(
        name="cityscapes",
        description="Cityscapes: 19 train ids, or the 27 classes of unsupervised segmentation",
        reader=cityscapes.CityscapesReader,
        splits=cityscapes.SPLITS,
        default_split="val",
        label_sets=cityscapes.LABEL_SETS,
        markers=("leftImg8bit",),
        inside=("cityscapes", "Cityscapes"),
    ),
    DatasetInfo(
        name="folder",
        description="any folder of images, with the categories you name",
        reader=folder.FolderReader,
        splits=folder.SPLITS,
        default_split="all",
        label_sets=(),
        markers=("",),
    ),
    DatasetInfo(
        name="emoji-voc",
        description="ships with iseg: scenes of emoji in VOC's layout, for the embedded model",
        reader=voc.EmojiVocReader,
        splits=("train", "val", "style"),
        default_split="val",
        label_sets=("emoji-voc",),
        markers=("JPEGImages",),
        embedded=True,
    ),
)

DATASETS: Mapping[str, DatasetInfo] = MappingProxyType({info.name: info for info in _ALL})
"""The datasets by name, in the sequence of the docs."""


def dataset_info(name: str) -> DatasetInfo:
    """Return the entry of a dataset; SettingsError, with the nearest name, if it is unknown."""
    return DATASETS[require_dataset(name)]
