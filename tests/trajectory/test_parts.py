"""What trajectories of one data set are called, and what is said of them."""

import pytest

from gfnode.trajectory.parts import molecule_source, part_names


def taken(source: str, count: int) -> list[str]:
    return [molecule_source(source, number) for number in range(count)]


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        ([], []),
        (["a", "b"], ["file 1", "file 2"]),
        (["", ""], ["file 1", "file 2"]),
        (taken("a", 2), ["molecule 0", "molecule 1"]),
        (taken("", 2), ["molecule 0", "molecule 1"]),
        (
            ["a", *taken("b", 2), *taken("b", 1)],
            ["file 1", "molecule 0 of file 2", "molecule 1 of file 2", "molecule 0 of file 3"],
        ),
    ],
)
def test_names(sources: list[str], names: list[str]):
    assert part_names(sources) == names
