"""Whether code can be compiled here."""

import os
import shutil
import sys

import pytest

from gfnode.kernels.build import OFF

compiled = pytest.mark.skipif(
    not sys.platform.startswith("linux")
    or shutil.which(os.environ.get("CXX", "c++")) is None
    or bool(os.environ.get(OFF)),
    reason="needs Linux and a C++ compiler",
)
