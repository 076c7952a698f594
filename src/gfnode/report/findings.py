"""Is a trajectory suitable for training? The answer, the findings, and the command that trains.

Everything here takes the inspection as JSON has it; docs/inspection.md says what each number is.
"""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from gfnode.report.numbers import rough
from gfnode.trajectory.boxless import wrapped
from gfnode.trajectory.clock import Clock
from gfnode.trajectory.lengths import other_unit
from gfnode.trajectory.parts import Part, part_names, parts
from gfnode.units import count, format_time

Found = Mapping[str, Any]

MARKS = {"error": "✗", "warning": "!", "note": "·"}
_STYLES = {"error": "bold red", "warning": "yellow", "note": ""}
_ANSWERS = {
    "yes": "Suitable for training?  Yes.",
    "with care": "Suitable for training?  Yes, with care:",
    "no": "Suitable for training?  Not as it is:",
}


def inspection_verdict(found: Found) -> str:
    """The answer to the first question."""
    answer = _ANSWERS[found["verdict"]]
    if found["verdict"] == "yes" and found["findings"]:
        return answer + "  Notes:"
    return answer


def inspection_findings(found: Found) -> Iterator[tuple[str, str]]:
    """Level and sentence of everything that a user should know, most serious first."""
    for each in found["findings"]:
        sentence = _SENTENCES[each["code"]](each["values"], found)
        options = shlex.join(each["options"])
        yield each["level"], f"{sentence}. Try: {options}" if options else f"{sentence}."


def train_command(found: Found, files: Sequence[str], reading: Sequence[str]) -> str | None:
    """The command that trains on the data, ready to paste; None where no option puts it right.

    Parameters
    ----------
    files
        As they were given.
    reading
        Options that they were read with: ``["--top", "molecule.pdb"]``.
    """
    if any(each["level"] == "error" and not each["options"] for each in found["findings"]):
        return None
    advised = [word for each in found["findings"] for word in each["options"]]
    given = list(reading)
    if "--unit" in advised and "--map" in given:
        return None  # units are named there
    for option in {"--step", "--unit"} & {*advised} & {*given}:
        place = given.index(option)
        del given[place : place + 2]
    words = [word for file in files for word in ("--data", file)]
    name = found["files"][0]["name"]
    return shlex.join(["gfnode", "train", *words, *given, *advised, "--out", f"runs/{name}"])


def findings_table(found: Found) -> Table:
    """All findings, each with its mark, coloured on a terminal."""
    table = Table.grid(padding=(0, 1))
    table.add_column(min_width=3)
    table.add_column(overflow="fold")
    for level, sentence in inspection_findings(found):
        table.add_row(Text("  " + MARKS[level], style=_STYLES[level]), Text(sentence))
    return table


def parts_of(found: Found) -> list[Part]:
    """File and molecule of each trajectory."""
    return parts([each["source"] for each in found["files"]])


def _named(found: Found, number: int) -> str:
    """Name a trajectory."""
    return part_names([each["source"] for each in found["files"]])[number]


def frame_words(each: Found, found: Found) -> str:
    """Name a frame, and its trajectory where there are several."""
    where = f" of {_named(found, each['file'])}" if len(found["files"]) > 1 else ""
    return f"frame {each['frame']}{where}"


def original_words(each: Found, found: Found) -> str:
    """Name the frame that another one repeats."""
    return frame_words({"file": each["of_file"], "frame": each["of_frame"]}, found)


def jump_words(each: Found, found: Found) -> str:
    """Say where atoms leap, and how far."""
    where = frame_words(each, found)
    if each["kind"] == "bond":
        return (
            f"{where}: a bond of atom {each['atom']} is {each['distance']:.3g} Å long (normally "
            f"{each['expected']:.3g} Å); {count(each['atoms'], 'atom')} in broken bonds"
        )
    how = {
        "spike": "is displaced, the next one is not",
        "cut": "does not continue the previous one: a cut, or joined pieces",
        "atoms": "does not continue the previous one",
    }[each["kind"]]
    return (
        f"{where} {how}; {count(each['atoms'], 'atom')} moved too far, atom {each['atom']} by "
        f"{each['distance']:.3g} Å (expected at most {each['expected']:.2g} Å)"
    )


def percent(share: float) -> str:
    """A share with two digits."""
    return f"{rough(100 * share)} %" if share >= 1e-5 else "less than 0.001 %"


def about(fs: float) -> str:
    """An estimated time, with two digits."""
    return format_time(float(f"{fs:.2g}"))


def followed(found: Found) -> str:
    """Name the molecule that was followed where there are several."""
    if found["structure"]["molecules"] < 2:
        return ""
    alike = found["structure"]["kinds_of_molecules"] == 1
    return "the first molecule" if alike else "the largest molecule"


def _unit(v: Found, _: Found) -> str:
    return other_unit(v["unit"], v["nearest"], v["expected"])


def _clock(_: Found, found: Found) -> str:
    return Clock(**found["clock"]).words


def _several(v: Found, found: Found) -> str:
    alike = found["structure"]["kinds_of_molecules"] == 1
    remedy = f"keep one (--select){' or split them (--each-molecule)' if alike else ''}"
    if any(each["code"] == "no-bond-lengths" for each in found["findings"]):
        remedy = "if they are beads of a chain, give its bonds with --top (CONECT lines of a PDB)"
    return (
        f"the atoms form {v['pieces']} molecules that no graph edge connects, so the model learns "
        f"little of their interaction; {remedy}"
    )


def _few(v: Found, _: Found) -> str:
    shorter = ""
    if v["enough_fs"] is not None:
        enough = format_time(v["enough_fs"]).replace(" ", "")
        shorter = f", or a shorter horizon (--set windows.horizon={enough})"
    return (
        f"little data for a horizon of {format_time(v['horizon_fs'])}: {v['train']} independent "
        f"training windows and {v['test']} test windows (overlapping ones add little); "
        f"use more data or replicas{shorter}"
    )


def _slowest(v: Found, found: Found) -> str:
    name = f"the torsion about {v['name']}" if v["kind"] == "torsion" else "a change of shape"
    if molecule := followed(found):  # how molecules go past one another is not followed
        name += f" of {molecule}"
    if v["memory_fs"] is None:
        return f"{name} relaxes more slowly than the data can show, so it cannot be learned"
    return (
        f"the slowest motion found, {name}, has a correlation time of "
        f"{about(v['memory_fs'])}; the data is only {v['times']:.2g} times as long, so it "
        "samples this motion poorly"
    )


def _jumped(v: Found, found: Found) -> str:
    return f"{count(v['count'], 'jump')}: {jump_words(found['frames']['first_jumps'][0], found)}"


def _duplicated(v: Found, found: Found) -> str:
    first = found["frames"]["first_duplicates"][0]
    if whole := found["frames"]["repeated_files"]:
        named = ", ".join(
            f"{_named(found, each['file'])} repeats all of {_named(found, each['of_file'])}"
            for each in whole[:5]
        )
        more = f", and {len(whole) - 5} more" if len(whole) > 5 else ""
        return f"{count(v['count'], 'duplicate frame')}: {named}{more}; give each series only once"
    return (
        f"{count(v['count'], 'duplicate frame')}: {frame_words(first, found)} is identical to "
        f"{original_words(first, found)}; remove the duplicates"
    )


def _nearly(v: Found, found: Found) -> str:
    first = found["frames"]["first_near_duplicates"][0]
    return (
        f"{count(v['count'], 'frame')} almost identical to the previous one, first "
        f"{frame_words(first, found)}: typical of a restarted run"
    )


def _continued(v: Found, found: Found) -> str:
    first = found["frames"]["continued_files"][0]
    one, two = _named(found, first["file"]), _named(found, first["after"])
    more = f" (and {v['count'] - 1} more likewise)" if v["count"] > 1 else ""
    return (
        f"{one} goes on where {two} ends{more}: given as "
        "separate files they count as independent simulations, each split into training and test "
        "blocks; gfnode convert joins them into one"
    )


def _gap(v: Found, found: Found) -> str:
    gap = next(gap for each in found["files"] for gap in each["first_gaps"])
    return (
        f"{count(v['count'], 'gap')} in time, the first after frame {gap['frame']} "
        f"({format_time(gap['length_fs'])}); lags are drawn only from existing frames"
    )


def _noisy(v: Found, _: Found) -> str:
    return (
        f"positions are rounded to {v['rounded_to']:.2g} Å, which makes velocities noisy and adds "
        f"{v['noise']:.2g} K to a temperature of {v['temperature']:.0f} K; store more digits, or "
        "velocities"
    )


def _heated(v: Found, found: Found) -> str:
    files = parts_of(found)
    where = f" in file {files[v['file']].file}" if files[-1].file > 1 else ""
    more = f" (and in {count(v['files'] - 1, 'more file')})" if v["files"] > 1 else ""
    return (
        f"the temperature drifts from {v['first']:.0f} K to {v['last']:.0f} K{where}{more}, so "
        "training and test data differ; remove frames of heating, cooling or equilibration"
    )


def _ordered(v: Found, found: Found) -> str:
    other = found["structure"]["other_order"][0]
    more = f" (and in {v['files'] - 1} more)" if v["files"] > 1 else ""
    one, two = other["atoms"]
    first, there = _named(found, 0), _named(found, v["file"])
    return (
        f"the atom order in {there} differs from that in {first}{more}: {v['long']} of "
        f"the {v['bonds']} bonds of {first} are far too long there, e.g. atoms {one} and {two}, "
        f"{other['length']:.3g} Å (normally {other['usual']:.2g} Å); use the same atom order "
        "everywhere"
    )


_SENTENCES: dict[str, Callable[[Found, Found], str]] = {
    "single-frame": lambda v, f: "a single frame contains no motion; give a trajectory",
    "refused": lambda v, f: f"gfnode train would refuse: {v['problem']}",
    "length-unit": _unit,
    "no-bond-lengths": lambda v, f: (
        f"most atoms are too far apart for bonds (median distance to the nearest "
        f"{v['nearest']:.3g} Å, sum of covalent radii {v['expected']:.3g} Å): a selection such as "
        "Cα, coarse-grained beads (whose elements, and masses if none are given, are then wrong), "
        "or a wrong unit"
    ),
    "time-step": _clock,
    "velocity-unit": _clock,
    "too-hot": _clock,
    "force-unit": lambda v, f: v["words"],
    "jumps": _jumped,
    "duplicates": _duplicated,
    "near-duplicates": _nearly,
    "gaps": _gap,
    "continued-files": _continued,
    "atom-order": _ordered,
    "wrapped": lambda v, f: wrapped(v["lengths"]),
    "broken-molecules": lambda v, f: (
        f"the periodic cell cuts {v['molecules']:.3g} molecules per frame on average; make "
        "molecules whole first"
    ),
    "far-bonds": lambda v, f: (
        f"{count(v['count'], 'bond')} of the topology {'joins' if v['count'] == 1 else 'join'} "
        "distant atoms; check that the topology is right and has this atom order"
    ),
    "unnamed-bonds": lambda v, f: (
        f"{count(v['count'], 'pair')} of atoms {'is' if v['count'] == 1 else 'are'} at bonding "
        "distance, but not bonded in the topology"
    ),
    "several-molecules": _several,
    "unseen-images": lambda v, f: v["words"],
    "few-windows": _few,
    "short-files": lambda v, f: v["words"],
    "slow-motion": _slowest,
    "no-velocities": lambda v, f: (
        f"frames {format_time(v['gap_fs'])} apart do not determine velocities: the model uses the "
        "previous frame instead, which predictions then need too"
    ),
    "coarse": lambda v, f: (
        f"positions are rounded to {v['rounded_to']:.2g} Å, more than the amplitude of bond "
        "vibrations; store more decimals"
    ),
    "rounded-velocities": _noisy,
    "temperature-drift": _heated,
    "heavy-hydrogens": lambda v, f: (
        f"hydrogens have only {v['heat']:.2g} times the temperature of all other atoms, as if the "
        "simulation used hydrogen mass repartitioning: give a topology with masses (--top, .prmtop "
        "or .psf); otherwise momenta, temperatures and learned forces are wrong"
    ),
    "foreign-velocities": lambda v, f: (
        "the centre of mass does not move as the stored velocities say (correlation "
        f"{round(v['followed'], 2) + 0.0:g}), as if frames had been centred or superposed after "
        "the simulation: give the frames of the simulation, or leave stored velocities aside"
    ),
    "fixed-atoms": lambda v, f: (
        f"{count(v['count'], 'atom')} never {'moves' if v['count'] == 1 else 'move'}, as if fixed "
        "in the simulation: predictions keep them in place (unless targets are superposed), which "
        "lowers means over atoms; score the others (--set windows.score=...)"
    ),
    "missing-frames": lambda v, f: (
        f"the file contains {percent(v['present'])} of the frames of the series; a start needs "
        "another frame within four steps"
    ),
    "turns-unaligned": lambda v, f: (
        f"the molecule rotates by {v['angle_deg']:.0f}° within the horizon, and the file does not "
        "determine the direction; superpose targets on their start"
    ),
    "still-aligned": lambda v, f: (
        f"targets are superposed on their start, although the molecule rotates by only "
        f"{v['angle_deg']:.2g}° within the horizon"
    ),
}
