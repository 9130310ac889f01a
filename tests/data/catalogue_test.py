import pytest
from hypothesis import given
from hypothesis import strategies as st

from rec_align.data import catalogue as catalogue_lib
from rec_align.data import items as items_lib

NAMES = st.lists(
    st.tuples(
        st.sampled_from(["A", "a", "A (1954)", "A (OPI)", "A (2)", "A (OPI) (2)"]),
        st.sampled_from(["", "1954", "1995"]),
        st.sampled_from(["", "OPI", "2"]),
    ),
    min_size=1,
    max_size=12,
)


def make_items(**kwargs):
    size = len(kwargs["item_ids"])
    given_values = {
        "titles": ("",) * size,
        "brands": ("",) * size,
        "categories": ((),) * size,
        "years": ("",) * size,
        "key_phrases": ("",) * size,
    }
    return items_lib.Items(**given_values | kwargs)


@given(NAMES)
def test_texts_are_unique_and_keep_the_name_in_front(rows):
    names, years, brands = zip(*rows, strict=True)
    texts = catalogue_lib.unique_texts(names, years, brands)
    assert len(set(texts)) == len(texts)
    assert all(text.startswith(name) for text, name in zip(texts, names, strict=True))
    for text, name in zip(texts, names, strict=True):
        assert text == name or names.count(name) > 1


@pytest.mark.parametrize(
    ("names", "years", "brands", "texts"),
    [
        (["S", "S", "T"], ["1954", "1995", "1995"], [""] * 3, ["S (1954)", "S (1995)", "T"]),
        (["B", "B"], ["", ""], ["OPI", "Nyx"], ["B (OPI)", "B (Nyx)"]),
        (["B", "B"], ["", ""], ["OPI", "OPI"], ["B", "B (2)"]),
        (["B", "B", "B"], ["", "", ""], ["OPI", "OPI", ""], ["B (OPI)", "B (OPI) (2)", "B"]),
        # Another item is called so already.
        (["B", "B", "B (2)"], [""] * 3, [""] * 3, ["B", "B (3)", "B (2)"]),
        (["S", "S", "S (1954)"], ["1954", "", ""], [""] * 3, ["S (1954) (2)", "S", "S (1954)"]),
        (["It", "it"], ["", ""], ["", ""], ["It", "it"]),
    ],
)
def test_how_equal_names_are_told_apart(names, years, brands, texts):
    assert catalogue_lib.unique_texts(names, years, brands) == texts


def test_missing_titles_fall_back_and_are_counted():
    items = make_items(
        item_ids=("a", "b", "c", "d"),
        brands=("", "OPI", "", ""),
        categories=((), ("Beauty", "Nails"), ("Beauty", "Hair"), ()),
        key_phrases=("red polish", "", "", ""),
    )
    catalogue, fallbacks = catalogue_lib.build_catalogue("abcde", items)
    texts = {item_id: catalogue.texts[catalogue.index_of(item_id)] for item_id in "abcde"}
    assert texts == {
        "a": "red polish",
        "b": "OPI Nails",
        "c": "Beauty, Hair",
        "d": "Item d",
        "e": "Item e",
    }
    assert fallbacks == {"key_phrase": 1, "brand and category": 1, "categories": 1, "item id": 2}


def test_write_read_and_look_up(tmp_path):
    items = make_items(item_ids=("x", "y"), titles=("Tea \u0085 time", 'A "quoted" é'))
    catalogue, _ = catalogue_lib.build_catalogue(["x", "y"], items)
    catalogue.write(tmp_path / "catalogue.jsonl")
    assert catalogue_lib.Catalogue.read(tmp_path / "catalogue.jsonl") == catalogue
    assert catalogue.item_ids[catalogue.index_of_text('A "quoted" é')] == "y"
    with pytest.raises(ValueError, match="'Coffee'"):
        catalogue.index_of_text("Coffee")
    with pytest.raises(ValueError, match="'z'"):
        catalogue.index_of("z")


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (" Tom &amp;\tJerry\n", "Tom & Jerry"),
        ("e\u0301tude", "étude"),
        ("a\u200bb\u2028c", "a b c"),
        ("\ufb01n\u00a0de", "fin de"),
        ("under\u2581line", "under line"),
        ("\x00\x1f", ""),
        (None, ""),
    ],
)
def test_clean_text(raw, clean):
    assert items_lib.clean_text(raw) == clean


@pytest.mark.parametrize(
    ("raw", "parsed"),
    [
        ([["Beauty", "Makeup"], ["Beauty", "Nails"]], ("Beauty", "Makeup", "Nails")),
        ('[["Beauty", "Hair"]]', ("Beauty", "Hair")),
        ("['Beauty', \"Men's\"]", ("Beauty", "Men's")),
        ("Action|Sci-Fi", ("Action", "Sci-Fi")),
        ("Patio, Lawn & Garden", ("Patio, Lawn & Garden",)),
        ("[odd", ("[odd",)),
        (None, ()),
        ("", ()),
    ],
)
def test_parse_categories(raw, parsed):
    assert items_lib.parse_categories(raw) == parsed
