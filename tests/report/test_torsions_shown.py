"""Of many named torsions those are shown that a reader should see."""

from typing import Any

import pytest
from rich.console import Console

from gfnode.report.physics_table import MOST, furthest, physics_table

NAMES = [f"{kind}_ALA{k}" for kind in ("phi", "psi") for k in range(2, 9)]


def quantities(far: dict[str, float | None], *more: str) -> dict[str, Any]:
    estimate = {"low": None, "high": None, "count": 9}
    return {
        name: {
            "unit": "degree",
            "methods": {
                "gfnode": {
                    "error": estimate | {"value": 5.0},
                    "wasserstein": estimate | {"value": far.get(name, 1.0)},
                }
            },
        }
        for name in [*NAMES, *more]
    }


def section(far: dict[str, float | None], *more: str, **other: Any) -> dict[str, Any]:
    return {"quantities": quantities(far, *more), **other}


def test_the_torsions_furthest_off_are_shown_in_their_order() -> None:
    found = furthest(section({"psi_ALA8": 30.0, "psi_ALA3": None, "phi_ALA5": 20.0}))
    assert found == [*NAMES[:3], "phi_ALA5", "psi_ALA3", "psi_ALA8"]


def test_those_that_a_user_named_are_always_shown() -> None:
    far = dict.fromkeys(NAMES, 30.0)
    assert furthest(section(far, "spin"))[-1] == "spin"
    assert furthest(section(far, "phi_x", asked=["phi_x"]))[-1] == "phi_x"
    assert "phi_x" not in furthest(section(far, "phi_x", asked=[]))


@pytest.mark.parametrize(
    ("many", "said"), [(True, f"the {MOST} of {len(NAMES)} with"), (False, "")]
)
def test_the_table_says_which_those_are(many: bool, said: str) -> None:
    found = quantities({"psi_ALA8": 30.0})
    if not many:
        found = {"psi_ALA8": found["psi_ALA8"]}
    with (console := Console(width=110)).capture() as capture:
        console.print(physics_table({"torsions": {"quantities": found}}))
    text = " ".join(capture.get().split())
    assert "psi_ALA8, error (°)" in text
    assert said in text
    assert many == ("torsions by name" in text)
