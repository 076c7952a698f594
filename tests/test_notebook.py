"""What notebooks show: the words of the table, and a drawing whose parts can be counted."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from ase.build import molecule

import gfnode
from gfnode.molecule.sketch import MOST, colour, sketch
from gfnode.trajectory import Topology, Trajectory

SVG = "{http://www.w3.org/2000/svg}"
TOLUENE = gfnode.load("sample:toluene")[:200]


class Cells(HTMLParser):
    """Collects tags, and the text of the table's cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.cells: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data

    @property
    def rows(self) -> dict[str, str]:
        return dict(zip(self.cells[::2], self.cells[1::2], strict=True))


def rows(shown) -> dict[str, str]:
    return Cells(shown._repr_html_()).rows


def chain(atoms: int) -> Trajectory:
    """A zigzag of carbon."""
    x = np.zeros((1, atoms, 3))
    x[0, :, 0], x[0, 1::2, 1] = np.arange(atoms) * 1.25, 0.8
    return Trajectory(x, [0.0], np.full(atoms, 6))


def test_table_of_a_trajectory():
    found = rows(TOLUENE)
    assert found["molecule"] == "toluene"
    assert found["formula"] == "C7H8"
    assert (found["atoms"], found["frames"]) == ("15", "200")
    assert (found["time between frames"], found["span"]) == ("5 fs", "995 fs")
    assert (found["velocities"], found["cell"]) == ("yes", "none")
    assert found["temperature"] == f"{TOLUENE.temperature():.4g} K over 3N degrees of freedom"
    assert found["source"] == TOLUENE.source


def test_table_of_unusual_trajectories():
    bare = replace(TOLUENE[[0, 1, 3]], velocities=None, source="")
    found = rows(bare)
    assert found["time between frames"] == "uneven, 5 fs to 10 fs"
    assert found["velocities"] == "no"
    assert not {"temperature", "source"} & set(found)
    assert "span" not in rows(bare[0])
    cell = np.tile([[30.0, 0, 0], [15, 25.98, 0], [0, 0, 40]], (200, 1, 1))
    assert rows(replace(TOLUENE, cell=cell))["cell"] == "30 × 30 × 40 Å, 90° 90° 60°"


def test_text_is_escaped():
    bad = "<script>alert('1')</script>&\""
    shown = Cells(replace(TOLUENE, name=bad, source=bad)._repr_html_())
    assert shown.rows["molecule"] == shown.rows["source"] == bad
    assert shown.tags <= {"div", "table", "caption", "tr", "th", "td", "svg", "g", "path", "circle"}


def test_drawing_of_a_small_molecule():
    root = ElementTree.fromstring(sketch(TOLUENE))
    circles = root.findall(f".//{SVG}circle")
    assert sorted(each.get("fill") for each in circles) == sorted(map(colour, TOLUENE.numbers))
    halves = sum(each.get("d").count("M") for each in root.findall(f".//{SVG}path"))
    assert halves == 2 * 15  # a ring of six, its methyl, and eight hydrogens
    width, height = float(root.get("width")), float(root.get("height"))
    assert max(width, height) <= 261
    for each in circles:
        assert 0 < float(each.get("cx")) < width
        assert 0 < float(each.get("cy")) < height
    assert colour(8) == "#ff0d0d"
    assert colour(1) == "#d9d9d9"


def test_the_drawing_is_not_mirrored():
    """Four colours at the corners of a tetrahedron, nearer ones less pale: one of two hands."""
    corners = np.array([[1.0, 1, 1], [-1, -1, 1.2], [-1, 1, -1], [1, -1, -1.1]]) * [1.2, 1, 0.9]
    numbers = [6, 7, 8, 9]

    def hand(x: np.ndarray) -> float:
        return float(np.sign(np.linalg.det(x[1:] - x[0])))

    def drawn(trajectory: Trajectory) -> np.ndarray:
        found = {}
        for layer in ElementTree.fromstring(sketch(trajectory)):
            for each in layer.findall(f"{SVG}circle"):
                x, y = float(each.get("cx")), -float(each.get("cy"))
                found[each.get("fill")] = x, y, float(layer.get("opacity"))
        return np.array([found[colour(z)] for z in numbers])

    rng = np.random.default_rng(0)
    hands = set()
    for mirror in (1, -1) * 5:
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        x = corners @ turn * [1, 1, mirror]
        assert hand(drawn(Trajectory(x[None], [0.0], numbers))) == hand(x)
        hands.add(hand(x))
    assert hands == {1.0, -1.0}


@pytest.mark.parametrize("name", ["H", "CO2", "H2O", "CH4"])
def test_drawing_of_tiny_molecules(name):
    built = molecule(name)
    root = ElementTree.fromstring(sketch(Trajectory.from_ase(built)))
    assert len(root.findall(f".//{SVG}circle")) == len(built)
    assert "nan" not in ElementTree.tostring(root, encoding="unicode")


def test_a_large_molecule_is_drawn_by_its_largest_pieces():
    large = chain(MOST + 40)
    text = sketch(large)
    assert text.count("M") == 2 * (MOST - 1)
    assert "circle" not in text
    assert len(text) < 200_000
    hydrogens = replace(large, numbers=np.tile([6, 1], MOST // 2 + 20))
    assert sketch(hydrogens).count("M") == 2 * (MOST // 2 + 20)  # lone carbons: a dot each


def test_bonds_that_the_box_cuts_are_left_out():
    trajectory = chain(6)
    bonds = np.array([[i, i + 1] for i in range(5)] + [[0, 5]])
    names = Topology(("C",) * 6, ("MOL",) * 6, (1,) * 6, bonds)
    x = trajectory.positions.copy()
    x[0, 5, 0] -= 30
    cut = replace(trajectory, positions=x, topology=names)
    assert sketch(cut).count("M") == 2 * 4


def test_table_of_a_run(tmp_path: Path):
    changes = {"training.epochs": 1, "windows.most": [64, 32, 32]}
    sample = replace(gfnode.load("sample:toluene"), name="<i>toluene</i>")
    run = gfnode.fit(sample, changes=changes, out=tmp_path / "run", progress=False)
    shown = Cells(run._repr_html_())
    found = shown.rows
    assert found["molecule"] == "<i>toluene</i> C7H8"
    assert "i" not in shown.tags
    assert found["atoms"] == "15, 15 in the state, 7 scored"
    assert (found["model"], found["horizon"], found["epochs"]) == ("gfnode", "1.5 ps", "1")
    assert int(found["weights"]) == sum(each.numel() for each in run.model.parameters())
    best = run.facts["training"]["best_validation_error"]
    assert found["best validation error"] == f"{best:.4g} Å² per coordinate"
    unfinished = gfnode.Run(run.folder, run.experiment, run.model, dict(run.facts))
    del unfinished.facts["training"]
    assert re.search("not ended", rows(unfinished)["epochs"])
    assert "best validation error" not in rows(unfinished)
