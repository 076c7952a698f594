"""Physics on the page: what is measured is shown, and what is shown is in the files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import HOSTILE, Page, Visit, files, rows

from commands import call
from gfnode.report import write_page
from gfnode.report.loading import RunFiles
from gfnode.report.panels import physics_panels
from gfnode.report.panels.torsions import _leaves, _stayed
from gfnode.report.physics_table import atoms_words
from gfnode.report.pictures import COLUMN, WIDE

EDGES = [0.0, 100.0, 200.0]


def estimate(value: float | None, spread: float = 0.1) -> dict[str, Any]:
    known = value is not None
    low, high = (value - spread, value + spread) if known else (None, None)
    return {"value": value, "low": low, "high": high, "count": 9}


def quantity(unit: str, errors: dict[str, float]) -> dict[str, Any]:
    methods = {
        name: {"error": estimate(value), "error_by_lag": [estimate(value), estimate(2 * value)]}
        | {"wasserstein": estimate(0.3), "js_bits": estimate(0.25)}
        for name, value in errors.items()
    }
    return {"unit": unit, "coordinates": 3, "compared": 3, "methods": methods}


def numbers() -> dict[str, Any]:
    """Of all sections, as ``physics.json`` has them."""
    errors = {"gfnode": 0.04, "persistence": 0.05, "constant": 0.03, "floor": 0.042}
    populations = {"alpha_R": estimate(0.25), "beta": estimate(0.75)}
    residue = {
        name: {
            "populations": populations,
            "transitions": [[[8, 2], [1, 9]], [[5, 5], [5, 5]]],
            "js_bits": estimate(0.3),
            "passage_error_by_lag": [estimate(0.1), estimate(0.4)],
        }
        for name in ("true", "gfnode", "persistence")
    }
    residue["floor"] = {"js_bits": estimate(0.01), "passage_error_by_lag": [estimate(0.05)] * 2}
    space = {
        "frequency_per_ps": 12.5,
        "frequency_low_per_ps": 11.0,
        "frequency_high_per_ps": 14.0,
        "power_A2": 0.25,
        "memory_ps": 0.5,
    }
    still = dict.fromkeys(space)
    rank = {"value": 0.75, "low": 0.5, "high": 0.875, "chance": 0.0005, "eigenspaces": 3}
    kinetics = {"vamp2": [estimate(2.5), estimate(1.25)]}
    kinetics["timescales_ps"] = [[estimate(0.5), estimate(None)], [estimate(0.75), estimate(None)]]
    moving = {
        "temperature_K": [estimate(300.0), estimate(310.0)],
        "momentum_change_u_A_per_fs_of_thermal": [0.125, None],
        "angular_momentum_change_u_A2_per_fs_of_thermal": [0.25, 0.5],
    }
    energy = {"mean_kcal_mol": 12.5, "spread_kcal_mol": 3.0, "without_energy": 0}
    energy["quantiles_kcal_mol"] = {"0.05": 5.0, "0.5": 12.0}
    return {
        "geometry": {"lag_edges_fs": EDGES, "quantities": {"bond": quantity("angstrom", errors)}},
        "shape": {
            "lag_edges_fs": EDGES,
            "quantities": {"rmsd_superposed": quantity("angstrom", errors)},
        },
        "integrity": {
            "methods": {
                name: {"frames_with_any": estimate(share)}
                | {"broken_bonds": {"per_frame": estimate(share)}}
                for name, share in (("true", 0.0), ("gfnode", 0.125))
            }
        },
        "torsions": {
            "lag_edges_fs": EDGES,
            "states": ["alpha_R", "beta"],
            "quantities": {"phi_ALA2": quantity("degree", errors)},
            "ramachandran": {"ALA2": {"methods": residue}},
        },
        "spectra": {
            "spacing_fs": 5.0,
            "windows": 64,
            "lags": 8,
            "superposed": {
                "rank_correlation_true": rank,
                "rank_correlation_predicted": rank | {"value": None},
                "eigenspaces": [
                    {"eigenvalue": 0.0, "modes": 1, "true": still, "predicted": still},
                    {"eigenvalue": 1.5, "modes": 2, "true": space, "predicted": space},
                    {"eigenvalue": 3.0, "modes": 1, "true": space, "predicted": still},
                ],
            },
            "density_of_states": {
                "temperature_true_K": 500.0,
                "temperature_predicted_K": 50.0,
                "mean_frequency_true_per_ps": 40.0,
                "mean_frequency_predicted_per_ps": 4.0,
                "distance_per_ps": 36.0,
                "distance_floor_per_ps": None,
            },
        },
        "kinetics": {
            "features": "torsions",
            "names": ["a-b-c-d"],
            "lag_edges_fs": EDGES,
            "true": kinetics,
            "methods": {"gfnode": kinetics},
        },
        "motion": {
            "degrees_of_freedom": 45,
            "lag_edges_fs": EDGES,
            "start": {"temperature_K": 505.0},
            "true": moving,
            "methods": {"gfnode": moving},
        },
        "energy": {
            "engine": "xtb",
            "frames": 100,
            "true": energy | {"mean_kcal_mol": 0.0},
            "methods": {"gfnode": energy},
        },
    }


def arrays() -> dict[str, Any]:
    """Of all sections, as ``physics.npz`` has them."""
    generator = np.random.default_rng(0)
    found: dict[str, Any] = {
        "geometry.bond.index": np.array([[0, 1], [1, 2], [2, 3]]),
        "geometry.bond.range": np.array([[1.0, 1.6]] * 3),
        "geometry.bond.wasserstein.gfnode": np.array([0.01, 0.03, 0.02]),
        "torsions.phi_ALA2.range": np.array([[-180.0, 180.0]]),
    }
    for name in ("true", "gfnode", "persistence", "constant"):
        found[f"geometry.bond.density.{name}"] = generator.dirichlet(np.ones(60), 3)
        found[f"torsions.phi_ALA2.density.{name}"] = generator.dirichlet(np.ones(60), 1)
        density = generator.dirichlet(np.ones(3600)).reshape(60, 60)
        found[f"torsions.ramachandran.ALA2.density.{name}"] = density
    found["spectra.frequency_per_ps"] = np.arange(5.0)
    found["spectra.density_frequency_per_ps"] = np.arange(4.0)
    for name in ("true", "predicted"):
        found[f"spectra.superposed_power_{name}"] = generator.uniform(0.1, 1, (3, 5))
        found[f"spectra.density_{name}_K_ps"] = generator.uniform(0.1, 1, 4)
    return found


@pytest.fixture
def measured(copied: Path) -> Path:
    """A run with all sections, of numbers that are known."""
    (copied / "physics.json").write_text(json.dumps(numbers()))
    np.savez(copied / "physics.npz", **arrays())
    return copied


KEYS = ["geometry", "torsions", "spectra", "kinetics", "motion", "energy"]


def test_every_section_has_its_panel_and_every_figure_is_drawn(measured):
    panels = physics_panels(RunFiles.read(measured))
    assert [panel.key for panel in panels] == KEYS
    pictures = {each.name: each for panel in panels for each in panel.pictures}
    assert len(pictures) == 10
    for each in pictures.values():
        for layout in (WIDE, COLUMN):
            figure = each.draw(layout)
            figure.draw_without_rendering()
            assert figure.get_figwidth() == layout.width
        assert len(each.rows) > 2
        assert any(character.isdigit() for character in each.words)
        assert each.words.endswith(".")


def test_wide_bands_leave_curves_to_be_seen(measured):
    """Of two blocks of time an interval may be a hundred times as wide as its value is large."""
    found = numbers()
    for each in found["geometry"]["quantities"]["bond"]["methods"].values():
        each["error_by_lag"] = [estimate(0.05, 30.0), estimate(0.1, 9.0)]
    for each in (found["motion"]["true"], *found["motion"]["methods"].values()):
        each["temperature_K"] = [estimate(300.0, 1e5), estimate(None)]
    (measured / "physics.json").write_text(json.dumps(found))
    pictures = {
        each.name: each.draw(WIDE).axes
        for panel in physics_panels(RunFiles.read(measured))
        for each in panel.pictures
    }
    bonds, rmsd = pictures["geometry-by-lag"][:2]
    assert bonds.get_ylim() == (0, pytest.approx(0.3))
    assert pictures["motion"][0].get_ylim() == (0, pytest.approx(900))
    low, high = rmsd.get_ylim()  # what it shows ends at 0.2, less than three times its curves
    assert low == 0
    assert 0.19 < high < 0.25


@pytest.mark.parametrize(("true", "scale"), [(0.75, "linear"), (400.0, "log")])
def test_timescales_that_are_decades_apart_are_all_to_be_seen(measured, true, scale):
    """Timescales of truth and prediction often differ a hundredfold: a linear axis hides one."""
    found = numbers()
    of_truth = [[estimate(true), estimate(None)], [estimate(2 * true, 1e6), estimate(None)]]
    found["kinetics"]["true"] = found["kinetics"]["true"] | {"timescales_ps": of_truth}
    (measured / "physics.json").write_text(json.dumps(found))
    panels = {panel.key: panel for panel in physics_panels(RunFiles.read(measured))}
    figure = panels["kinetics"].pictures[0].draw(WIDE)
    figure.draw_without_rendering()
    pane = figure.axes[1]
    assert pane.get_yscale() == scale
    assert not any("$" in label.get_text() for label in pane.get_yticklabels())  # not in a page
    low, high = pane.get_ylim()
    assert low < 0.5
    assert 2 * true < high <= 6 * true


@pytest.mark.parametrize(("true", "gap"), [(0.75, False), (400.0, True)])
def test_a_timescale_of_zero_is_a_gap_on_a_logarithmic_axis(measured, true, gap):
    """It dropped to the bottom as a vertical line."""
    found = numbers()
    of_truth = [[estimate(0.0), estimate(None)], [estimate(true), estimate(None)]]
    found["kinetics"]["true"] = found["kinetics"]["true"] | {"timescales_ps": of_truth}
    (measured / "physics.json").write_text(json.dumps(found))
    panels = {panel.key: panel for panel in physics_panels(RunFiles.read(measured))}
    pane = panels["kinetics"].pictures[0].draw(WIDE).axes[1]
    first, second = pane.lines[0].get_ydata()
    assert np.isnan(first) == gap
    assert second == true


@pytest.mark.parametrize(("spacing", "told"), [(2.0, False), (5.0, True), (9.0, True)])
def test_a_temperature_of_frames_far_apart_says_so(measured, spacing, told):
    found = numbers()
    found["spectra"]["spacing_fs"] = spacing
    (measured / "physics.json").write_text(json.dumps(found))
    panels = physics_panels(RunFiles.read(measured))
    said = " ".join(next(panel for panel in panels if panel.key == "spectra").sentences)
    assert "50 K of 500 K" in said
    assert (f"from frames {spacing:g} fs apart, which partly miss fast vibrations" in said) == told


@pytest.mark.parametrize(
    ("true", "told"),
    [
        (1.5, "score is 1.5 [1.4, 1.6] in the truth and 1.25 [1.15, 1.35] in predictions"),
        (1.5, "predictions keep less memory of the start than MD."),
        (1.0, "predictions keep more memory of the start than MD."),
        (1.3, "no significant difference."),
    ],
)
def test_what_is_left_of_the_start_is_told_where_intervals_do(measured, true, told):
    found = numbers()
    scores = {"vamp2": [estimate(2.5), estimate(true)]}
    found["kinetics"]["true"] = found["kinetics"]["true"] | scores
    (measured / "physics.json").write_text(json.dumps(found))
    panels = physics_panels(RunFiles.read(measured))
    assert told in next(panel for panel in panels if panel.key == "kinetics").sentences[0]


def test_negative_numbers_have_a_minus_and_wide_tables_short_intervals(measured):
    found = numbers()
    below = estimate(-0.12) | {"low": -0.25, "high": 0.01}
    found["spectra"]["superposed"]["rank_correlation_true"] |= below
    found["geometry"]["quantities"]["bond"]["methods"]["gfnode"]["error"] |= {
        "value": 0.0221,
        "low": 0.01984,
        "high": 0.02456,
    }
    (measured / "physics.json").write_text(json.dumps(found))
    panels = {panel.key: panel for panel in physics_panels(RunFiles.read(measured))}
    said = " ".join(panels["spectra"].sentences)
    assert "eigenvalue is −0.12 (95 % interval −0.25 to 0.01) over" in said
    assert "0.0221 <span" in (cell := panels["geometry"].tables[0].body[0][2])
    assert "[0.02, 0.025]" in cell


def test_words_say_what_the_numbers_are(measured):
    said = {
        panel.key: " ".join(panel.sentences) for panel in physics_panels(RunFiles.read(measured))
    }
    assert "bonds: mean absolute error 0.04 Å (fixed mean geometry 0.03 Å, " in said["geometry"]
    assert "12.5 % of predicted frames have" in said["geometry"]
    assert "α_R 25 % (true 25 %), β 75 %" in said["torsions"]
    assert "graph eigenvalue is 0.75 (95 % interval 0.5 to 0.88) over 3" in said["spectra"]
    assert "less than 0.1 % of random orders" in said["spectra"]
    assert "Prediction: too few eigenspaces move" in said["spectra"]
    assert "has 10 % of the true kinetic energy (50 K of 500 K" in said["spectra"]
    assert "momentum by 0.12 and angular momentum by 0.5" in said["motion"]
    assert "12.5 kcal/mol above the true ones" in said["energy"]


def test_page_and_files_hold_every_number(measured, tmp_path):
    page = write_page(measured, tmp_path / "page.html")
    found = Page(page.read_text(encoding="utf-8"))
    assert page.stat().st_size < 5e6
    saved = files(found)
    assert json.loads(saved["physics.json"]) == numbers()
    head, *body = found.tables["table-geometry-numbers"]
    assert body[0][head.index("error: gfnode") if "error: gfnode" in head else 2].startswith("0.04")
    true = arrays()["torsions.ramachandran.ALA2.density.true"]
    csv = rows(saved["ramachandran-ala2.csv"])
    assert len(csv) == 3600
    assert csv[0]["phi_deg"] == "-177.0"
    assert float(csv[61]["true"]) == true[1, 1]
    bonds = [r for r in rows(saved["geometry-distributions.csv"]) if r["method"] == "true"]
    worst = [float(r["probability"]) for r in bonds if r["coordinate"] == "worst of bonds C1–C2"]
    assert worst == arrays()["geometry.bond.density.true"][1].tolist()
    said = " ".join(" ".join(found.text).split())
    assert "Two unrelated MD frames differ by 0.042 Å in shape" in said
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    linked = {a["data-file"] for t, a in found.tags if t == "a" and "data-file" in a}
    assert linked <= set(ids)


def test_the_map_shows_phi_across_and_psi_up(measured):
    peak = np.zeros((60, 60))
    peak[10, 50] = 1.0  # φ = −117°, ψ = 123°
    found = arrays() | {"torsions.ramachandran.ALA2.density.true": peak}
    np.savez(measured / "physics.npz", **found)
    panels = {panel.key: panel for panel in physics_panels(RunFiles.read(measured))}
    (picture, *_) = panels["torsions"].pictures
    assert "true density is highest at φ -117°, ψ 123°" in picture.words
    figure = picture.draw(WIDE)
    figure.draw_without_rendering()
    drawn = [axes.collections[0] for axes in figure.axes if axes.get_xlabel() == "φ (°)"]
    values = np.ma.filled(drawn[0].get_array(), 0).reshape(60, 60)
    assert np.argwhere(values > 0).tolist() == [[50, 10]]  # rows go up with ψ


def test_sections_that_are_missing_are_left_out(measured):
    kept = {key: value for key, value in numbers().items() if key == "integrity"}
    kept["kinetics"] = {"reason": "the model draws samples"}
    (measured / "physics.json").write_text(json.dumps(kept))
    panels = physics_panels(RunFiles.read(measured))
    assert [panel.key for panel in panels] == ["geometry", "kinetics"]
    assert panels[1].sentences == ["No kinetics: the model draws samples."]


def test_sections_that_cannot_be_read_say_so(measured, tmp_path):
    broken = numbers()
    del broken["motion"]["start"]
    broken["geometry"]["quantities"]["bond"]["methods"] = HOSTILE
    (measured / "physics.json").write_text(json.dumps(broken))
    panels = {panel.key: panel for panel in physics_panels(RunFiles.read(measured))}
    for key in ("motion", "geometry"):
        assert "cannot be read" in panels[key].sentences[0]
    write_page(measured, tmp_path / "page.html")


def test_runs_are_compared_by_their_physics(measured, other, compared_page, tmp_path):
    from gfnode.report import write_comparison

    found = Page(write_comparison([measured, other], tmp_path / "c.html").read_text())
    table = found.tables["table-compared-physics"]
    assert table[0][1:] == ["run", "smaller", "constant", "floor"]
    bonds = next(row for row in table if row[0] == "bonds: error, Å")
    assert bonds[1].startswith("0.04 [")
    assert bonds[3].startswith("0.03 [")
    assert bonds[4].startswith("0.042 [")


def test_the_command_measures_what_is_missing(copied):
    said = call("report", copied)
    assert said.exit_code == 0, said.output
    assert "measuring how physical predictions are" in said.stdout
    found = json.loads((copied / "physics.json").read_text())
    page = Page((copied / "report.html").read_text(encoding="utf-8"))
    assert json.loads(files(page)["physics.json"]) == found
    sections = {attributes.get("id") for tag, attributes in page.tags if tag == "section"}
    assert {"kinetics", "spectra", "motion"} <= sections
    assert not [word for word in page.text if "cannot be read" in word]
    facts = json.loads((copied / "run.json").read_text())
    facts["data"][0]["file"] = str(copied / "gone.npz")
    (copied / "run.json").write_text(json.dumps(facts))
    (copied / "physics.npz").unlink()
    said = call("report", copied)  # it is no reason to have no report
    assert said.exit_code == 0, said.output
    assert "the report has no physics section" in said.stderr


def test_browser_shows_physics_without_a_word_or_a_request(opened, measured, tmp_path):
    page = write_page(measured, tmp_path / "page.html")
    found = Visit(opened, page, viewport={"width": 360, "height": 480})
    assert found.page.evaluate("document.documentElement.scrollWidth") == 360
    assert found.page.locator("#torsions .narrow svg image").count() == 5  # maps and scales
    assert found.page.locator("#geometry .narrow svg").first.is_visible()
    with found.page.expect_download() as caught:
        found.page.click("#spectra a[data-file='file-eigenspaces']")
    assert caught.value.suggested_filename == "eigenspaces.csv"
    assert found.said == []
    assert found.asked == [page.as_uri()]
    found.context.close()


def test_the_atoms_that_are_looked_at_are_named(measured):
    """Else the numbers of heavy atoms are taken for those of the molecule."""
    physics = numbers()
    heavy = "the 7 heavy atoms, without hydrogens"
    said = []
    for looked in ("heavy", "all"):
        for section in ("geometry", "shape", "integrity"):
            physics[section] |= {"looked_at": looked, "atoms": 7}
        (measured / "physics.json").write_text(json.dumps(physics))
        said.append(" ".join(physics_panels(RunFiles.read(measured))[0].sentences))
        assert (heavy in atoms_words(physics)) == (looked == "heavy")
    assert f"Measured on {heavy}" in said[0]
    assert "heavy" not in said[1]


def test_only_residues_that_leave_their_basin_have_a_figure_of_passages() -> None:
    still = {
        name: {
            "transitions": [[[10, 0], [0, 10]], [[0, 0], [0, 0]]],
            "passage_error_by_lag": [estimate(0.0), estimate(None)],
        }
        for name in ("true", "gfnode")
    }
    moving = numbers()["torsions"]["ramachandran"]["ALA2"]["methods"]
    run = type("Run", (), {"model": "gfnode"})()
    assert not _leaves(run, still)
    assert _leaves(run, moving)
    assert _leaves(run, still | {"true": moving["true"]})
    assert _stayed([], 2) == []
    (some,) = _stayed(["ALA2"], 3)
    assert some.startswith("1 of 3 residues stays in its basin")
    assert "(ALA2)" in some
    (none,) = _stayed(["ALA2", "ALA3"], 2)
    assert "any of the 2 residues, true or predicted" in none
