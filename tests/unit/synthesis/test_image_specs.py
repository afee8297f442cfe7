"""The images of a synthetic dataset, and what its labels mean."""

import pytest
from pictures import Pictures

from iseg_cli.config import load_settings
from iseg_cli.config.resources import data_folder
from iseg_cli.config.schema import SynthesisSettings
from iseg_cli.errors import SettingsError
from iseg_cli.image_labels.prompts import read_prompts_file
from iseg_cli.label_images.palette import voc_color
from iseg_cli.readers.label_tables import load_label_set
from iseg_cli.synthesis.image_specs import label_set_for, plan_images
from iseg_cli.types import Category, Sample

VOC = load_label_set("voc")
TEMPLATES = ("a {}", "one {}", "the {}")


def ordered(names="cat dog bird", per_category=7, seed=1101, **settings):
    synthesis = SynthesisSettings(templates=TEMPLATES, **settings)
    return plan_images(
        label_set_for(names.split(), VOC), synthesis, per_category=per_category, seed=seed
    )


def test_every_category_gets_its_images_in_the_order_of_the_labels():
    specs = ordered("dog cat", 2)
    assert [spec.image_id for spec in specs] == ["cat_0000", "cat_0001", "dog_0000", "dog_0001"]
    assert [[c.name for c in spec.categories] for spec in specs] == [["cat"]] * 2 + [["dog"]] * 2


def test_templates_are_taken_in_turn():
    specs = ordered("cat dog", 4)
    assert [spec.template for spec in specs] == [*TEMPLATES, TEMPLATES[0]] * 2


def test_every_image_has_a_seed_of_its_own():
    specs = ordered(per_category=50)
    seeds = [spec.seed for spec in specs]
    assert len(set(seeds)) == 150
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert seeds == [spec.seed for spec in ordered(per_category=50)]
    assert not set(seeds) & {spec.seed for spec in ordered(per_category=50, seed=1102)}


def test_a_larger_dataset_begins_with_the_images_of_a_smaller_one():
    small = {spec.image_id: spec for spec in ordered(per_category=3, objects=(1, 3))}
    large = {spec.image_id: spec for spec in ordered(per_category=9, objects=(1, 3))}
    assert len(large) == 27
    assert small.items() <= large.items()


@pytest.mark.parametrize("objects", [(1, 1), (2, 2), (1, 3)])
def test_company_is_drawn_from_the_other_categories(objects):
    specs = ordered(per_category=40, objects=objects)
    counts = set()
    for spec in specs:
        names = [category.name for category in spec.categories]
        assert len(set(names)) == len(names)
        assert names[0] == spec.image_id.split("_")[0]
        counts.add(len(names))
    assert counts == set(range(objects[0], objects[1] + 1))
    if objects[1] > 1:
        company = {c.name for spec in specs for c in spec.categories[1:]}
        assert company == {"cat", "dog", "bird"}


def test_more_objects_than_categories_are_refused():
    with pytest.raises(SettingsError, match="4 categories in an image, but only 3 were named"):
        ordered(objects=(1, 4))


def test_names_become_file_names():
    specs = plan_images(
        label_set_for(["red panda/fox", "???"], VOC), SynthesisSettings(), per_category=1, seed=0
    )
    assert [spec.image_id for spec in specs] == ["red-panda-fox_0000", "category-2_0000"]
    with pytest.raises(SettingsError, match="would both have images a-b_0000"):
        plan_images(label_set_for(["a b", "a-b"], VOC), SynthesisSettings(), per_category=1, seed=0)


def test_names_of_voc_keep_vocs_labels_words_and_colours():
    label_set = label_set_for(["tv monitor", "pottedplant", "cat"], VOC)
    assert label_set.background == 0
    assert label_set.categories == tuple(
        VOC.by_name(n) for n in ("cat", "pottedplant", "tvmonitor")
    )


def test_one_name_of_ones_own_numbers_them_all():
    label_set = label_set_for(["tvmonitor", "red  fox"], VOC)
    assert label_set.categories == (
        Category(1, "tvmonitor", "tv monitor", "monitor", voc_color(1), (), ("monitor",)),
        Category(2, "red fox", "red fox", color=voc_color(2)),
    )


def test_labels_of_a_table_without_background_are_not_kept():
    label_set = label_set_for(["car", "road"], load_label_set("cityscapes"))
    assert [(c.id, c.name) for c in label_set.categories] == [(1, "car"), (2, "road")]
    assert label_set.background == 0


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["cat", "cat"], "'cat' was named twice"),
        (["aeroplane", "plane"], "'aeroplane' was named twice"),
        (["cat", " "], "needs a name"),
        (["background"], "'background' is no category"),
    ],
)
def test_names_that_cannot_be_are_said(names, said):
    with pytest.raises(SettingsError, match=said):
        label_set_for(names, VOC)


@pytest.mark.parametrize("preset", ["voc-synthesize", "emoji-voc-synthesize"])
def test_the_templates_of_a_preset_name_no_category_themselves(preset, tmp_path):
    """Otherwise `--labels prompts:` would find other labels than the image's categories."""
    settings = load_settings(preset)
    assert settings.dataset == preset.removesuffix("-synthesize")
    templates = settings.synthesis.templates
    assert len(set(templates)) == len(templates)
    path = tmp_path / "prompts.csv"
    lines = [f'{i},"{template.format("bird")}"' for i, template in enumerate(templates)]
    path.write_text("\n".join(lines), "utf-8")
    images = Pictures(*(f"{i}.jpg" for i in range(len(templates))))
    found = read_prompts_file(path, load_label_set(settings.dataset), images)
    for i in range(len(templates)):
        named = found.labels(Sample(str(i), data_folder("configs") / f"{i}.jpg"))
        assert [category.name for category in named] == ["bird"], templates[i]


def test_presets_are_those_of_their_dataset_and_a_way_of_drawing():
    voc, usual = load_settings("voc-synthesize"), load_settings("voc")
    assert voc.model_copy(update={"synthesis": usual.synthesis}) == usual
    assert len(voc.synthesis.templates) >= 10
    assert (voc.synthesis.steps, voc.synthesis.guidance) == (50, 7.5)
    assert load_settings("emoji-voc-synthesize").model == "tiny"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"templates": ["a dog"]}, "'a dog' needs one {}"),
        ({"templates": ["{} and {}"]}, "needs one {}"),
        ({"templates": []}, "at least 1 item"),
        ({"objects": (2, 1)}, "the least number is over the greatest"),
        ({"read_from": 0.5, "read_to": 0.5}, "read_from must be under synthesis.read_to"),
    ],
)
def test_settings_are_validated(settings, said):
    with pytest.raises(ValueError, match=said):
        SynthesisSettings(**settings)
