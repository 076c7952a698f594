"""Where no C++ compiler is installed, training says what that costs."""

import pytest

from compilers import compiled
from gfnode.kernels import build
from gfnode.report import describe_training
from gfnode.run.fitting import begin
from making import QUICK, wiggle


@compiled
@pytest.mark.parametrize(
    ("name", "value", "said"), [(None, "", 0), ("CXX", "no-such-compiler", 1), (build.OFF, "1", 0)]
)
def test_a_missing_compiler_is_said(monkeypatch, tmp_path, name, value, said):
    begun = begin(wiggle(), changes=QUICK, out=tmp_path / "run")
    if name:
        monkeypatch.setenv(name, value)
    lines = [line for line in describe_training(*begun) if "C++ compiler" in line]
    assert len(lines) == said
    assert all("CXX" in line for line in lines)
