import pathlib
import re
import sys

import pytest

from rec_align import prompts
from rec_align.prompts import FAMILIES, Slot, Template, parse


def test_parse_keeps_touching_punctuation_with_the_field():
    assert parse("Rate {item}: now please ({year})") == (
        Slot(text="Rate"),
        Slot(field="item", suffix=":"),
        Slot(text="now please"),
        Slot(field="year", prefix="(", suffix=")"),
    )


def test_parse_refuses_placeholders_that_touch():
    with pytest.raises(ValueError, match="put a space between"):
        parse("{a}{b}")


def test_targets_must_be_one_placeholder():
    with pytest.raises(ValueError, match="must be one placeholder"):
        Template("Next? {history}", "the {target}")


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_each_family_has_enough_distinct_templates(family):
    texts = [(t.inputs, t.targets) for t in family.templates]
    assert len(family.seen) >= 4
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_a_familys_templates_take_the_same_fields(family):
    if family.name != "item_embedding":  # its templates ask for different attributes
        assert len({t.fields for t in family.templates}) == 1


@pytest.mark.parametrize("name", ["retrieval", "rating"])
def test_history_stands_last_where_targets_follow_every_item(name):
    for template in FAMILIES[name].templates:
        assert template.input_slots[-1] == Slot(field="history")


def test_wording_is_neutral_across_domains():
    words = re.compile(r"\b(film|movie|watch\w*|product|buy|bought|book|song|users? id)\b", re.I)
    templates = [t.inputs for family in FAMILIES.values() for t in family.templates]
    assert not [text for text in templates if words.search(text)]


def test_all_texts_are_the_seen_templates_without_placeholders():
    texts = prompts.all_texts()
    assert all(texts) and not any("{" in text for text in texts)
    for family in FAMILIES.values():
        for template in family.seen:
            for piece in re.split(r"\S*\{\w+\}\S*", template.inputs):
                assert not piece.strip() or piece.strip() in texts


def test_prompts_are_text_only():
    """They import no framework: looked up in the files, a fresh interpreter would be slow."""
    for name in list(sys.modules):
        if name.startswith("rec_align.prompts"):
            source = pathlib.Path(sys.modules[name].__file__).read_text()
            assert not re.search(r"import (tensorflow|jax|seqio)", source)
