"""What a machine lacks that would make training faster, training says."""

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


@pytest.mark.parametrize(
    ("flags", "asked", "said"),
    [
        (b"flags : fpu avx512f avx512_bf16", ("bfloat16", "auto"), 0),
        (b"flags : fpu avx2", ("bfloat16", "cpu"), 1),
        (b"flags : fpu avx2", ("bfloat16", "gpu"), 0),
        (b"flags : fpu avx2", ("float32", "cpu"), 0),
    ],
)
def test_products_that_stay_as_they_are_are_said(monkeypatch, tmp_path, flags, asked, said):
    products, accelerator = asked
    changes = QUICK | {"training": QUICK["training"] | {"products": products}}
    run, dataset = begin(wiggle(), changes=changes, out=tmp_path / "run")
    run.experiment = run.experiment.model_copy(update={"accelerator": accelerator})
    monkeypatch.setattr(build, "_processor", lambda: flags)
    lines = list(describe_training(run, dataset))
    assert sum("AVX512-BF16" in line for line in lines) == said
