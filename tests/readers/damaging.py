"""Files that are damaged anywhere, as hypothesis likes."""

from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gfnode.errors import InputError
from gfnode.readers import load
from gfnode.trajectory import Trajectory


def any_damage(test):
    """A test of damage, ``data``, that is drawn anew a hundred and fifty times."""
    calm = [HealthCheck.function_scoped_fixture]
    return settings(deadline=None, max_examples=150, suppress_health_check=calm)(
        given(data=st.data())(test)
    )


def loaded_or_refused(path: Path, good: bytes, data: st.DataObject) -> Trajectory | None:
    """A damaged file is read as finite numbers, or refused in one line that names it: None."""
    bad = bytearray(good)
    for _ in range(data.draw(st.integers(1, 3))):
        at, much = data.draw(st.integers(0, len(bad) - 1)), data.draw(st.integers(0, 40))
        bad[at : at + much] = data.draw(st.binary(max_size=40))
        bad = bad or bytearray(b" ")
    path.write_bytes(bad)
    said, found = "", None
    try:
        found = load(path, whole=False)
    except InputError as error:
        said = str(error)
    if found is None:
        assert str(path) in said
        assert "\n" not in said
    else:
        assert np.isfinite(found.positions).all()
    return found
