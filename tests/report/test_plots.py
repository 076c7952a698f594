import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from gfnode.errors import InputError
from gfnode.report import error_against_lag, error_table, lag_table, plot_error_against_lag, verdict
from gfnode.report.curves import atom_curves
from gfnode.report.pictures import NARROW, WIDE
from gfnode.report.summary import how_good

EDGES = [0.0, 500.0, 1000.0, 1500.0]
LAGS = [250.0, 740.0, 1500.0]


def estimate(value, count=10, spread=1.2):
    known = value is not None and spread
    return {
        "value": value,
        "low": value / spread if known else None,
        "high": value * spread if known else None,
        "count": count,
    }


def method(by_lag, **options):
    mean = [each for each in by_lag if each is not None]
    values = {
        key: estimate(factor * float(np.mean(mean)), **options)
        for key, factor in (
            ("mean_over_lags", 1),
            ("last_lag", 2),
            ("eq14_mean_over_lags", 3),
            ("superposed_mean_over_lags", 0.5),
        )
    }
    bins = {"lag_edges_fs": EDGES, "lags_fs": LAGS}
    return values | bins | {"by_lag": [estimate(v, **options) for v in by_lag]}


def evaluation(**changes):
    methods = {
        "gfnode": method([0.01, 0.02, 0.03]),
        "persistence": method([0.02, 0.04, 0.06]),
        "constant-velocity": method([0.03, 12.0, 66.31]),
    }
    verdicts = {
        "persistence": {"verdict": "better", "ratio": estimate(0.5)},
        "constant-velocity": {"verdict": "better", "ratio": estimate(0.001)},
    }
    return {
        "model": "gfnode",
        "windows": 1440,
        "times": 8,
        "horizon_fs": 1500.0,
        "blocks": 4,
        "targets_superposed_on_start": False,
        "methods": methods,
        "best_trivial": "persistence",
        "verdicts": verdicts,
    } | changes


def texts(figure: Figure) -> str:
    figure.draw_without_rendering()
    found = [each.get_text() for axes in figure.axes for each in axes.texts]
    found += [axes.get_title(loc="left") for axes in figure.axes]
    found += [each.get_text() for legend in figure.legends for each in legend.get_texts()]
    return "\n".join(found)


def lines(figure: Figure) -> dict[str, np.ndarray]:
    return {str(line.get_label()): line.get_xydata() for line in figure.axes[0].lines}


def test_curves_are_the_errors_in_hundredths_at_the_mean_lag_of_each_bin():
    drawn = lines(error_against_lag(evaluation(), "toluene"))
    assert drawn["gfnode"] == pytest.approx(np.array([[0.25, 1], [0.74, 2], [1.5, 3]]))
    assert drawn["persistence"][:, 1] == pytest.approx([2, 4, 6])


def test_a_baseline_far_behind_does_not_stretch_the_axis_and_is_told():
    figure = error_against_lag(evaluation(), "toluene")
    low, high = figure.axes[0].get_ylim()
    assert low < 1
    assert 6 < high < 20
    assert "constant-velocity\n(off the scale: 6631 at 1.50 ps)" in texts(figure)


def test_a_model_far_behind_stays_on_the_axis():
    methods = evaluation()["methods"] | {"gfnode": method([1.0, 20.0, 30.0])}
    figure = error_against_lag(evaluation(methods=methods), "toluene")
    assert figure.axes[0].get_ylim()[1] > 3000


def test_title_units_and_verdict_are_written():
    figure = error_against_lag(evaluation(targets_superposed_on_start=True), "toluene (C7H8)")
    said = texts(figure)
    assert "toluene (C7H8): gfnode" in said
    assert "1440 windows in 4 blocks of time, horizon 1.5 ps, targets superposed" in said
    alone = texts(error_against_lag(evaluation(windows=1, blocks=1), "toluene"))
    assert "1 window in 1 block of time, horizon" in alone
    assert "better than persistence: 0.5 times its MSE (95 % interval 0.417 to 0.6)" in said
    assert figure.axes[0].get_xlabel() == "lag (ps)"
    assert "Å²" in figure.axes[0].get_ylabel()


def test_bins_without_windows_and_unknown_intervals_are_drawn():
    methods = {
        "gfnode": method([0.01, None, 0.03], spread=0),
        "persistence": method([0.02, None, None], spread=0),
    }
    methods["gfnode"]["by_lag"][1]["count"] = 0
    methods["persistence"]["by_lag"][1]["count"] = 0  # the last bin: an error without bound
    figure = error_against_lag(evaluation(methods=methods), "toluene")
    assert lines(figure)["gfnode"] == pytest.approx(np.array([[0.25, 1], [1.5, 3]]))
    figure.draw_without_rendering()
    heads = [str(column.header) for column in lag_table(evaluation(methods=methods)).columns]
    assert heads == ["", "up to\n0.5 ps", "up to\n1.5 ps"]  # no empty column between
    error_table(evaluation(methods=methods))


def test_verdicts_without_intervals_say_so():
    ratio = {"verdict": "indistinguishable", "ratio": estimate(0.9, spread=0)}
    said = verdict(evaluation(verdicts={"persistence": ratio}), "persistence")
    assert said.startswith("indistinguishable from persistence: 0.9 times its MSE (a single")


@pytest.mark.parametrize(
    ("blocks", "said"), [(1, "there are no intervals"), (4, "only 4 blocks"), (40, "")]
)
def test_few_blocks_are_told(blocks, said):
    words = how_good(evaluation(blocks=blocks), {})
    assert ("The test part" in words[-1]) == bool(said)
    assert said in words[-1]


def test_a_ratio_near_one_keeps_the_digits_that_tell_it_from_one():
    ratio = {"value": 0.99963, "low": 0.9991, "high": 0.99998, "count": 9}
    near = {"verdict": "better", "ratio": ratio}
    said = verdict(evaluation(verdicts={"persistence": near}), "persistence")
    assert "better than persistence: 0.9996 times" in said
    assert "(95 % interval 0.9991 to 0.99998)" in said


def test_the_picture_is_written_whole(tmp_path: Path):
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluation()))
    (tmp_path / "run.json").write_text(json.dumps({"data": [{"name": "t", "formula": "C7H8"}] * 2}))
    path = plot_error_against_lag(tmp_path)
    assert path == tmp_path / "error_against_lag.png"
    assert imread(path).shape[:2] == (928, 1280)
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "error_against_lag.png",
        "evaluation.json",
        "run.json",
    ]


def test_a_folder_without_evaluation(tmp_path: Path):
    with pytest.raises(InputError, match=r"evaluation\.json: cannot be read"):
        plot_error_against_lag(tmp_path)


@pytest.mark.parametrize("layout", [WIDE, NARROW])
def test_no_marker_of_an_atom_is_cut(layout):
    errors = {"gfnode": np.array([0.30, 0.31]), "rigid-rotor": np.array([0.95, 0.96])}
    figure = atom_curves(errors, ["C0", "O1"], layout)
    figure.canvas.draw()
    axes = figure.axes[0]
    top = axes.transAxes.transform((0, 1))[1]
    for line in axes.lines:
        highest = axes.transData.transform(line.get_xydata())[:, 1].max()
        assert top - highest > line.get_markersize() / 2 * figure.dpi / 72
