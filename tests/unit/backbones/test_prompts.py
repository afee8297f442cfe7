import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iseg_cli.backbones.prompts import build_prompts, fill_template, focus_spans
from iseg_cli.config import load_settings
from iseg_cli.errors import PromptError
from iseg_cli.readers.label_tables import load_label_set
from iseg_cli.types import Category

TEMPLATE = "a photograph of {} and other object and background"


def category(prompt, focus="", name=None):
    return Category(1, name or prompt, prompt, focus)


def build(tokenizer, *categories, words=(), max_tokens=77):
    made = [category(c) if isinstance(c, str) else c for c in categories]
    return build_prompts(made, tokenizer, background_words=words, max_tokens=max_tokens)


def length(tokenizer, text):
    return len(tokenizer(text)["input_ids"])


def carried(tokenizer, prompt):
    """What the tokens of each category of a prompt say, decoded."""
    ids = tokenizer(prompt.text, padding="max_length", max_length=77)["input_ids"]
    return [tokenizer.decode([ids[t] for t in tokens]) for tokens in prompt.tokens]


def test_the_template_word_by_word(tokenizer):
    [prompt] = build(tokenizer, "dog", "car", words=["sky", "grass"])
    assert prompt.text == (
        "a photograph of dog and car and other object and background, sky, grass"
    )
    assert prompt.columns == (0, 1)
    # start, a, photograph, of, dog, and, car
    assert prompt.tokens == ((4,), (6,))


def test_no_category_gives_an_empty_prompt(tokenizer):
    [prompt] = build(tokenizer, words=["sky"])
    assert (prompt.text, prompt.columns, prompt.tokens) == ("", (), ())


def test_words_of_several_tokens(tokenizer):
    # "sofa" is spelled in four tokens, which shift all that follows.
    assert length(tokenizer, "sofa") == 4 + 2
    [prompt] = build(tokenizer, "sofa", "dog")
    assert prompt.tokens == ((4, 5, 6, 7), (9,))


@pytest.mark.parametrize(
    ("words", "focus", "expected"),
    [
        ("potted plant", "plant", "plant"),
        ("potted plant", "", "potted plant"),
        ("tv monitor", "monitor", "monitor"),
        ("dining table", "", "dining table"),
        ("dining table", "dining table", "dining table"),
        ("hot dog on a table", "dog table", "dog table"),
        ("DOG", "", "dog"),
        ("Potted Plant", "Plant", "plant"),
        ("café table", "", "café table"),
        ("cafe\u0301 table", "cafe\u0301", "café"),
        ("salt and other pepper", "", "salt and other pepper"),
        ("and", "", "and"),
        ("background", "", "background"),
        ("a photograph", "photograph", "photograph"),
        ("t-shirt", "", "t - shirt"),
        ("traffic  light", "", "traffic light"),
    ],
)
@pytest.mark.parametrize("before", [(), ("sofa",), ("dog", "İstanbul cat")])
def test_the_tokens_of_a_category_say_its_focus_words(tokenizer, words, focus, expected, before):
    [prompt] = build(tokenizer, *before, category(words, focus), "bus")
    assert carried(tokenizer, prompt)[len(before)] == expected
    assert carried(tokenizer, prompt)[-1] == "bus"


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 0, 3, 2)])
def test_a_word_inside_another_is_not_mistaken(tokenizer, order):
    names = ["scar", "car", "hot dog", "dog"]
    chosen = [names[i] for i in order]
    [prompt] = build(tokenizer, *chosen)
    assert carried(tokenizer, prompt) == chosen
    flat = [token for tokens in prompt.tokens for token in tokens]
    assert flat == sorted(set(flat))
    # Each category's tokens stand in a row, one "and" apart from the next.
    gaps = [b[0] - a[-1] for a, b in zip(prompt.tokens, prompt.tokens[1:], strict=False)]
    assert gaps == [2, 2, 2]


def test_focus_words_that_are_not_there_are_refused():
    for words, focus in (("potted plant", "tree"), ("hot hot dog", "hot cat"), ("scar", "car")):
        with pytest.raises(PromptError, match="is not among its prompt words"):
            focus_spans(category(words, focus))


def test_a_category_without_tokens_is_refused(tokenizer):
    with pytest.raises(PromptError, match="gives no token"):
        build(tokenizer, "dog", category("   ", name="nothing"))


def test_background_words_are_dropped_from_the_end(tokenizer):
    words = ["sky", "grass", "water", "tree"]
    full = build(tokenizer, "dog", "cat", words=words)[0].text
    room = length(tokenizer, full)
    # A word and its comma are two tokens.
    for missing in range(5):
        for spare in (0, 1) if missing else (0,):
            limit = room - 2 * missing + spare
            [prompt] = build(tokenizer, "dog", "cat", words=words, max_tokens=limit)
            kept = words[: len(words) - missing]
            assert prompt.text == ", ".join([TEMPLATE.format("dog and cat"), *kept])
            assert length(tokenizer, prompt.text) <= limit
    # With one token less still, the categories themselves are split.
    assert len(build(tokenizer, "dog", "cat", words=words, max_tokens=room - 9)) == 2


def test_words_of_a_present_category_do_not_end_the_prompt(tokenizer):
    plant = category("potted plant", "plant", name="pottedplant")
    words = ["Tree", "plant", "sky", "potted plant", "pottedplant", "grass"]
    [prompt] = build(tokenizer, plant, "tree", words=words)
    assert prompt.text.endswith("background, sky, grass")
    [prompt] = build(tokenizer, "dog", words=words[:3])
    assert prompt.text.endswith("background, Tree, plant, sky")


def test_split_categories_keep_their_order_and_columns(tokenizer):
    names = ["dog", "sofa", "car", "hot dog", "sofa bus"]
    limit = length(tokenizer, TEMPLATE.format("dog and sofa"))
    assert limit == length(tokenizer, TEMPLATE.format("car and hot dog")) + 2
    prompts = build(tokenizer, *names, words=["sky"], max_tokens=limit)
    assert [prompt.columns for prompt in prompts] == [(0, 1), (2, 3), (4,)]
    assert [prompt.text for prompt in prompts] == [
        TEMPLATE.format(" and ".join(names[c] for c in prompt.columns)) for prompt in prompts
    ]


def test_a_category_that_never_fits_is_refused(tokenizer):
    limit = length(tokenizer, TEMPLATE.format("dog")) + 2
    with pytest.raises(PromptError, match=f"'sofa' is too long .* takes {limit} tokens"):
        build(tokenizer, "dog", "sofa", "cat", max_tokens=limit)


WORD = st.text("abcdeghrt", min_size=1, max_size=7)
PHRASE = st.lists(WORD, min_size=1, max_size=3).map(" ".join)
KNOWN = st.sampled_from(["dog", "car", "hot dog", "and", "other object", "tv monitor", "a"])


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    phrases=st.lists(PHRASE | KNOWN, min_size=1, max_size=12),
    words=st.lists(WORD, max_size=12),
    data=st.data(),
)
def test_no_category_is_lost_or_cut(tokenizer, phrases, words, data):
    made = []
    for phrase in phrases:
        focus = data.draw(st.sampled_from(["", *dict.fromkeys(phrase.split())]))
        made.append(category(phrase, focus))
    longest = max(length(tokenizer, TEMPLATE.format(phrase)) for phrase in phrases)
    limit = data.draw(st.integers(longest, 77) if longest < 77 else st.just(longest))
    prompts = build_prompts(made, tokenizer, background_words=words, max_tokens=limit)
    assert [c for prompt in prompts for c in prompt.columns] == list(range(len(made)))
    for prompt in prompts:
        ids = tokenizer(prompt.text)["input_ids"]
        assert len(ids) <= limit
        for column, tokens in zip(prompt.columns, prompt.tokens, strict=True):
            one = made[column]
            wanted = one.focus.split() or one.prompt.split()
            expected = " ".join(word for word in one.prompt.split() if word in wanted)
            assert tokenizer.decode([ids[t] for t in tokens]) == expected


@pytest.mark.parametrize(
    ("template", "text", "tokens"),
    [
        ("a photograph of {}", "a photograph of dog and tv monitor", ((4,), (7,))),
        ("{} and grass", "dog and tv monitor and grass", ((1,), (4,))),
        # "sofa" is spelled in four tokens; the dog outside the list carries nothing.
        ("sofa, a dog, {}", "sofa, a dog, dog and tv monitor", ((9,), (12,))),
    ],
)
def test_a_template_is_filled(tokenizer, template, text, tokens):
    named = [category("dog"), category("tv monitor", "monitor")]
    prompt = fill_template(template, named, tokenizer, max_tokens=77)
    assert prompt.text == text
    assert prompt.columns == (0, 1)
    assert prompt.tokens == tokens
    assert carried(tokenizer, prompt) == ["dog", "monitor"]


def test_the_usual_template_gives_the_usual_prompt(tokenizer):
    [usual] = build(tokenizer, "dog", "car")
    named = [category("dog"), category("car")]
    assert fill_template(TEMPLATE, named, tokenizer, max_tokens=77) == usual


def test_a_template_never_loses_a_category(tokenizer):
    fitting = length(tokenizer, "a photograph of dog and car")
    named = [category("dog"), category("car")]
    fill_template("a photograph of {}", named, tokenizer, max_tokens=fitting)
    with pytest.raises(PromptError, match=f"takes {fitting - 1} tokens; shorten its template"):
        fill_template("a photograph of {}", named, tokenizer, max_tokens=fitting - 1)


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        (
            "released/voc",
            "a photograph of dog and car and other object and background, ground, land, grass, "
            "tree, building, wall, sky, lake, water",
        ),
        (
            "released/coco",
            "a photograph of dog and car and other object and background, ground, land, grass, "
            "tree, building, wall, sky, lake, water, river, sea, railway, ",
        ),
        (
            "released/voc-open-vocabulary",
            "a photograph of dog and car and other object and backgroundground, land, grass, "
            "tree, building, wall, sky, lake, water",
        ),
        (
            "released/coco-object",
            "a photograph of dog and car and other object and backgroundground, land, grass, "
            "tree, building, wall, sky, lake, water, river, sea, railway, ",
        ),
        ("released/context", "a photograph of dog and car and other object and background"),
        (
            "voc-open-vocabulary",
            "a photograph of dog and car and other object and background, ground, land, grass, "
            "tree, building, wall, sky, lake, water",
        ),
    ],
)
def test_prompts_of_the_released_code_to_the_letter(tokenizer, preset, expected):
    chosen = load_settings(preset)
    words = chosen.prompt.background_words
    if words is None:
        words = load_label_set(chosen.label_set).background_words
    [prompt] = build_prompts(
        [category("dog"), category("car")],
        tokenizer,
        background_words=words,
        background_prefix=chosen.prompt.background_prefix,
        background_suffix=chosen.prompt.background_suffix,
        max_tokens=200,
    )
    assert prompt.text == expected
    assert carried(tokenizer, prompt) == ["dog", "car"]


def test_a_suffix_goes_before_any_word(tokenizer):
    def text(limit):
        [prompt] = build_prompts(
            [category("dog")],
            tokenizer,
            background_words=["sky", "grass"],
            background_prefix=" with ",
            background_suffix=", ",
            max_tokens=limit,
        )
        return prompt.text.removeprefix(TEMPLATE.format("dog"))

    full = length(tokenizer, TEMPLATE.format("dog") + " with sky, grass, ")
    without = length(tokenizer, TEMPLATE.format("dog") + " with sky, grass")
    one = length(tokenizer, TEMPLATE.format("dog") + " with sky")
    assert text(full) == " with sky, grass, "
    assert text(full - 1) == text(without) == " with sky, grass"
    assert text(without - 1) == text(one) == " with sky"
    assert text(one - 1) == ""


def test_without_words_nothing_stands_behind_the_template(tokenizer):
    for words in ((), ("dog",)):  # a word that names a category is none
        [prompt] = build_prompts(
            [category("dog")],
            tokenizer,
            background_words=words,
            background_prefix="!",
            background_suffix=", ",
            max_tokens=77,
        )
        assert prompt.text == TEMPLATE.format("dog")
