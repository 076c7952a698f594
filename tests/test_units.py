import numpy as np
import pytest
import scipy.constants
from hypothesis import given
from hypothesis import strategies as st

from gfnode import units
from gfnode.errors import InputError
from gfnode.units import BOLTZMANN, FS_PER, format_time, parse_time, parse_times


@pytest.mark.parametrize(
    ("text", "fs"),
    [
        ("100fs", 100),
        ("1.5 ps", 1500),
        (" 2ns ", 2e6),
        (".5fs", 0.5),
        ("5.fs", 5),
        ("1e3 as", 1),
        ("-1ps", -1000),
        ("3 µs", 3e9),
        ("3 \N{GREEK SMALL LETTER MU}s", 3e9),
        ("3us", 3e9),
        ("2 s", 2e15),
        (2, 2),
        (0.5, 0.5),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
    ],
)
def test_parse_time(text, fs):
    assert parse_time(text) == pytest.approx(fs, rel=1e-12)


@pytest.mark.parametrize("text", ["", "2", "fs", "2 parsec", "2 fs fs", "1..5fs", "nan fs", "2FS"])
def test_parse_time_refuses_what_it_cannot_read(text):
    with pytest.raises(InputError, match=r"expected a number with a unit such as 100fs"):
        parse_time(text)


@pytest.mark.parametrize("value", [np.ones(2), None, 1 + 2j, [1.0]], ids=str)
def test_parse_time_refuses_what_is_no_number(value):
    with pytest.raises(
        InputError, match=r"the time is .*, expected a number of fs, or text such as"
    ):
        parse_time(value)


def test_parse_times():
    assert parse_times("100fs, 0.5ps,1ns,") == [100, 500, 1e6]
    assert parse_times("0:2fs:1fs") == [0, 1, 2]
    for text in ("1fs:2fs:0", "2fs:1fs:1fs"):
        with pytest.raises(InputError, match="with last not before first, a step above zero"):
            parse_times(text)
    with pytest.raises(InputError, match="no time in ' , '"):
        parse_times(" , ")


@given(st.floats(1e-2, 1e13), st.sampled_from(sorted(FS_PER)))
def test_text_keeps_four_digits(value, unit):
    fs = parse_time(f"{value!r} {unit}")
    assert fs == pytest.approx(value * FS_PER[unit], rel=1e-12)
    assert parse_time(format_time(fs)) == pytest.approx(fs, rel=5.1e-4)


def test_format_time_chooses_the_unit():
    times = [0.5, 999, 1000, 1500, 5e7, 2e9, -1e3]
    assert [format_time(fs) for fs in times] == [
        "0.5 fs",
        "999 fs",
        "1 ps",
        "1.5 ps",
        "50 ns",
        "2 us",
        "-1 ps",
    ]


def test_boltzmann_against_scipy():
    u_angstrom2_per_fs2 = scipy.constants.atomic_mass * (1e-10 / 1e-15) ** 2
    assert pytest.approx(scipy.constants.k / u_angstrom2_per_fs2, rel=1e-8) == BOLTZMANN


def test_temperatures() -> None:
    assert [units.parse_temperature(each) for each in ("500K", "300 K", "77", 4.2)] == [
        500,
        300,
        77,
        4.2,
    ]
    for bad in ("-3K", "20C", "K", "nan", -1.0, "infK"):
        with pytest.raises(InputError, match="expected a number of kelvin"):
            units.parse_temperature(bad)


def test_energies_are_those_of_ase() -> None:
    """1 eV is 23.06 kcal/mol; ASE's unit of time makes 1 u Å²/t² one eV."""
    ase = pytest.importorskip("ase.units")
    ratio = units.ELECTRONVOLT / units.KCAL_MOL
    assert ratio == pytest.approx(ase.mol / ase.kcal, rel=1e-6)
    assert ase.fs**2 == pytest.approx(units.ELECTRONVOLT, rel=1e-6)
