"""Which datasets there are, and what is known of each before it is opened."""

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
    """What the command line has to know of a dataset before it is opened.

    Attributes:
        name: as `--dataset` takes it.
        description: one line for `iseg info` and the docs.
        reader: called with (root, split=...) and the extras of its signature.
        splits: the splits it has; VOC's layout takes further lists beside them.
        default_split: the one that is taken when none is asked for.
        label_sets: names of its tables, the default first; none where the user names categories.
        own_label_set: the name of the label set that its own annotations make, where they can.
        markers: folders or JSON files of which a root has at least one.
        inside: where a root lies within a folder of datasets.
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
        """The environment variable that names its root: ISEG_VOC_ROOT, ISEG_EMOJI_VOC_ROOT ..."""
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
"""The datasets by name, in the order of the docs."""


def dataset_info(name: str) -> DatasetInfo:
    """Return a dataset's entry; SettingsError, with the nearest name, for one that is unknown."""
    return DATASETS[require_dataset(name)]
