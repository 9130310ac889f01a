"""The fixtures of tests/pipeline serve here too."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "pipeline"))

import importlib.util

_spec = importlib.util.spec_from_file_location(
    "pipeline_fixtures", pathlib.Path(__file__).parents[1] / "pipeline" / "conftest.py"
)
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)
small_data_dir, small_shop = _fixtures.small_data_dir, _fixtures.small_shop
