"""The examples in the docstrings of the maths are true."""

import doctest
import importlib
import pkgutil

import pytest

from iseg_cli import ops

MODULES = [module.name for module in pkgutil.iter_modules(ops.__path__, "iseg_cli.ops.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    names = {**vars(module), "torch": importlib.import_module("torch")}
    assert doctest.testmod(module, extraglobs=names).failed == 0
