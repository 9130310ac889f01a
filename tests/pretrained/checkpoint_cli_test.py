"""`rec-align checkpoint import | export`, and what it leaves on disk."""

import json
import pathlib

import gin
import pytest

from rec_align.cli.main import main
from rec_align.pretrained.opening import open_checkpoint
from rec_align.pretrained.sizes import config_of

FIXTURES = pathlib.Path(__file__).parent / "fixtures"


def test_there_and_back(tmp_path, capsys):
    spiece = tmp_path / "some.model"
    spiece.write_bytes(b"pieces")
    run, out = str(tmp_path / "run"), tmp_path / "out"
    assert main(["checkpoint", "import", "--from", "hf", f"{FIXTURES}/hf_v1_1_untied", run]) == 0
    assert "17,296 parameters, 2 + 1 layers, 4 heads, vocabulary 128" in capsys.readouterr().out
    args = ["checkpoint", "export", run, str(out), "--to", "hf", "--checkpoint", "latest"]
    assert main([*args, "--vocabulary", str(spiece)]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "spiece.model",
    ]
    assert (out / "spiece.model").read_bytes() == b"pieces"
    # The sizes are those that Hugging Face wrote.
    original = json.loads((FIXTURES / "hf_v1_1_untied/config.json").read_text())
    exported = json.loads((out / "config.json").read_text())
    same = original.keys() & exported.keys()
    assert {key: exported[key] for key in same} == {key: original[key] for key in same}
    assert len(same) > 15
    assert main(args) == 1
    assert "is not empty" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["hf_v1_0_tied", "hf_v1_1_untied"])
def test_the_model_file_builds_the_network(name, tmp_path):
    assert main(["checkpoint", "import", str(FIXTURES / name), str(tmp_path / "run")]) == 0
    gin.clear_config()
    gin.parse_config_file(str(tmp_path / "run/model.gin"))
    network = gin.query_parameter("%MODEL").scoped_configurable_fn()
    gin.clear_config()
    assert network.config == config_of(open_checkpoint(FIXTURES / name).shapes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--checkpoint", "newest"], "--checkpoint newest: give best, latest or a step"),
        (["--checkpoint", "5"], "no checkpoint of step 5"),
        (["--vocabulary", "absent.model"], "there is no file absent.model"),
    ],
)
def test_refusals_in_one_line(arguments, message, tmp_path, capsys):
    run = str(tmp_path / "run")
    main(["checkpoint", "import", str(FIXTURES / "hf_v1_0_tied"), run])
    assert main(["checkpoint", "export", run, str(tmp_path / "out"), *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
