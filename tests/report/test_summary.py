"""Words about a run, apart from its page."""

from gfnode.report.tables import molecules


def test_a_molecule_whose_name_is_its_formula_is_named_once() -> None:
    plain = {"name": "C2H5NO2", "formula": "C2H5NO2"}
    toluene = {"name": "toluene", "formula": "C7H8"}
    assert molecules({"data": [plain, toluene, plain]}) == "C2H5NO2, toluene (C7H8)"
