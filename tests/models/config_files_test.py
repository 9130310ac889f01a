"""Model files read without gin give what gin gives."""

import pathlib

import gin
import pytest

from rec_align import command_line
from rec_align.models.config_files import parse_fields, read_config

ROOT = pathlib.Path(__file__).parents[2]
FILES = sorted((ROOT / "gin/models").glob("*.gin"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_model_file_means_the_same_without_gin(path):
    command_line.read_gin([str(path)], [])
    try:
        expected = gin.query_parameter("%MODEL").scoped_configurable_fn().config
    finally:
        gin.clear_config()
    assert read_config(path.stem) == read_config(str(path)) == expected


def test_fields_can_be_changed():
    changed = parse_fields(["dtype='bfloat16'", "dropout_rate=0.2"])
    config = read_config("tiny", **changed)
    assert (config.dtype, config.dropout_rate, config.emb_dim) == ("bfloat16", 0.2, 64)


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no model file gin/models/huge\.gin"):
        read_config("huge")
    with pytest.raises(ValueError, match="no field 'depth'"):
        parse_fields(["depth=2"])
    with pytest.raises(ValueError, match="write NAME=VALUE"):
        parse_fields(["dropout_rate"])
    with pytest.raises(ValueError, match="dtype=bfloat16: give a plain value"):
        parse_fields(["dtype=bfloat16"])
    path = tmp_path / "mine.gin"
    path.write_text("include 'gin/models/tiny.gin'\n")
    with pytest.raises(ValueError, match="includes nothing"):
        read_config(str(path))
