"""Can a trajectory be learnt? The answer, what stands in the way, and the command that trains.

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
from gfnode.units import count, format_time

Found = Mapping[str, Any]

MARKS = {"error": "✗", "warning": "!", "note": "·"}
_STYLES = {"error": "bold red", "warning": "yellow", "note": ""}
_ANSWERS = {
    "yes": "Can it be learnt?  Yes.",
    "with care": "Can it be learnt?  Yes, with care:",
    "no": "Can it be learnt?  Not as it is:",
}


def inspection_verdict(found: Found) -> str:
    """The answer to the first question."""
    answer = _ANSWERS[found["verdict"]]
    if found["verdict"] == "yes" and found["findings"]:
        return answer + "  Good to know:"
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


def frame_words(each: Found, several: bool) -> str:
    """Name a frame, and its file where there are several."""
    return f"frame {each['frame']}" + (f" of file {each['file'] + 1}" if several else "")


def original_words(each: Found, several: bool) -> str:
    """Name the frame that another one repeats."""
    where = f" of file {each['of_file'] + 1}" if several else ""
    return f"frame {each['of_frame']}{where}"


def jump_words(each: Found, several: bool) -> str:
    """Say where atoms leap, and how far."""
    where = frame_words(each, several)
    if each["kind"] == "bond":
        return (
            f"{where}: a bond of atom {each['atom']} is {each['distance']:.3g} Å long (usual "
            f"{each['expected']:.3g} Å); {count(each['atoms'], 'atom')} in broken bonds"
        )
    how = {
        "spike": "is off, the next is back",
        "cut": "does not follow the one before: a cut, or pieces that were joined",
        "atoms": "does not follow the one before",
    }[each["kind"]]
    return (
        f"{where} {how}; {count(each['atoms'], 'atom')} went too far, atom {each['atom']} by "
        f"{each['distance']:.3g} Å (at most {each['expected']:.2g} Å expected)"
    )


def percent(share: float) -> str:
    """A share with two digits."""
    return f"{rough(100 * share)} %" if share >= 1e-5 else "less than 0.001 %"


def about(fs: float) -> str:
    """An estimated time, with two digits."""
    return format_time(float(f"{fs:.2g}"))


def followed(found: Found) -> str:
    """Name the molecule that was followed where there are several."""
    if not found["structure"] or found["structure"]["molecules"] < 2:
        return ""
    alike = found["structure"]["kinds_of_molecules"] == 1
    return "the first molecule" if alike else "the largest molecule"


def _unit(v: Found, _: Found) -> str:
    return other_unit(v["unit"], v["nearest"], v["expected"])


def _clock(_: Found, found: Found) -> str:
    return Clock(**found["clock"]).words


def _several(v: Found, found: Found) -> str:
    alike = found["structure"]["kinds_of_molecules"] == 1
    return (
        f"the atoms form {v['pieces']} molecules: no edge of the graph joins them, so the model "
        "hardly sees what they do to one another; keep one (--select)"
        f"{' or take them apart (--each-molecule)' if alike else ''}"
    )


def _few(v: Found, _: Found) -> str:
    shorter = ""
    if v["enough_fs"] is not None:
        enough = format_time(v["enough_fs"]).replace(" ", "")
        shorter = f", or predict less far (--set windows.horizon={enough})"
    return (
        f"short for a horizon of {format_time(v['horizon_fs'])}: {v['train']} independent windows "
        f"to train on, {v['test']} to test on (those that overlap teach little anew); "
        f"give more data or replicas{shorter}"
    )


def _slowest(v: Found, found: Found) -> str:
    name = f"the torsion about {v['name']}" if v["kind"] == "torsion" else "a change of shape"
    if molecule := followed(found):  # how molecules go past one another is not followed
        name += f" of {molecule}"
    if v["memory_fs"] is None:
        return f"{name} is slower than the data is long, so it cannot be learnt from it"
    return (
        f"the slowest motion found, {name}, is forgotten only after "
        f"{about(v['memory_fs'])}; the data is {v['times']:.2g} times as long, so it is "
        "seen few times"
    )


def _jumped(v: Found, found: Found) -> str:
    several = len(found["files"]) > 1
    return f"{count(v['count'], 'jump')}: {jump_words(found['frames']['first_jumps'][0], several)}"


def _duplicated(v: Found, found: Found) -> str:
    several = len(found["files"]) > 1
    first = found["frames"]["first_duplicates"][0]
    if whole := found["frames"]["repeated_files"]:
        named = ", ".join(
            f"file {each['file'] + 1} repeats file {each['of_file'] + 1}" for each in whole[:5]
        )
        more = f", and {len(whole) - 5} more such" if len(whole) > 5 else ""
        return (
            f"{count(v['count'], 'frame')} repeated: {named}{more}, every frame of it; give each "
            "series once"
        )
    return (
        f"{count(v['count'], 'frame')} repeated: {frame_words(first, several)} is the same as "
        f"{original_words(first, several)}; leave repeats out"
    )


def _nearly(v: Found, found: Found) -> str:
    several = len(found["files"]) > 1
    first = found["frames"]["first_near_duplicates"][0]
    return (
        f"{count(v['count'], 'frame')} with hardly any change from the one before, first "
        f"{frame_words(first, several)}: as where a run was restarted"
    )


def _gap(v: Found, found: Found) -> str:
    gap = next(gap for each in found["files"] for gap in each["first_gaps"])
    return (
        f"{count(v['count'], 'gap')} in time, first after frame {gap['frame']} "
        f"({format_time(gap['length_fs'])}); lags are drawn from the frames that there are"
    )


def _noisy(v: Found, _: Found) -> str:
    size = f"{v['rounded_to']:.2g} Å" if v["rounded_to"] else "single precision"
    return (
        f"positions are rounded to {size}, which drowns velocities: it adds {v['noise']:.2g} K to "
        f"a temperature of {v['temperature']:.0f} K; store more digits or velocities"
    )


def _heated(v: Found, found: Found) -> str:
    where = f" in file {v['file'] + 1}" if len(found["files"]) > 1 else ""
    more = f" (and in {count(v['files'] - 1, 'more file')})" if v["files"] > 1 else ""
    return (
        f"the temperature goes from {v['first']:.0f} K to {v['last']:.0f} K{where}{more}: what is "
        "learned and what it is tested on are then not alike; leave out frames of heating, "
        "cooling or equilibration"
    )


def _ordered(v: Found, found: Found) -> str:
    other = found["structure"]["other_order"][0]
    more = f", and so have {count(v['files'] - 1, 'more file')}" if v["files"] > 1 else ""
    one, two = other["atoms"]
    return (
        f"file {v['file'] + 1} has its atoms in another order than file 1{more}: {v['long']} of "
        f"{v['bonds']} bonds of file 1 are far too long there, as of atoms {one} and {two}, "
        f"{other['length']:.3g} Å (usual {other['usual']:.2g} Å); put the atoms of all files into "
        "one order"
    )


_SENTENCES: dict[str, Callable[[Found, Found], str]] = {
    "single-frame": lambda v, f: "a single frame holds no motion; give a trajectory",
    "refused": lambda v, f: f"gfnode train refuses: {v['problem']}",
    "length-unit": _unit,
    "no-bond-lengths": lambda v, f: (
        f"no atoms are near enough for bonds (nearest {v['nearest']:.3g} Å, radii add up to "
        f"{v['expected']:.3g} Å): a selection such as Cα, beads that stand for several atoms "
        "(elements and masses are then not theirs), or a wrong unit"
    ),
    "time-step": _clock,
    "velocity-unit": _clock,
    "too-hot": _clock,
    "force-unit": lambda v, f: v["words"],
    "jumps": _jumped,
    "duplicates": _duplicated,
    "near-duplicates": _nearly,
    "gaps": _gap,
    "atom-order": _ordered,
    "wrapped": lambda v, f: wrapped(v["lengths"]),
    "broken-molecules": lambda v, f: (
        f"the periodic cell cuts {v['molecules']:.3g} molecules in a frame, on average; make "
        "molecules whole first"
    ),
    "far-bonds": lambda v, f: (
        f"{count(v['count'], 'bond')} of the topology join atoms that are not near; check "
        "that it is the right topology, with atoms in this order"
    ),
    "unnamed-bonds": lambda v, f: (
        f"{count(v['count'], 'pair')} of atoms are as near as bonds, but the topology names no "
        "bond there"
    ),
    "several-molecules": _several,
    "few-windows": _few,
    "short-files": lambda v, f: v["words"],
    "slow-motion": _slowest,
    "no-velocities": lambda v, f: (
        f"frames {format_time(v['gap_fs'])} apart tell nothing of velocities: in their place the "
        "model is told where the frame before was, which a prediction needs, too"
    ),
    "coarse": lambda v, f: (
        f"positions are rounded to {v['rounded_to']:.2g} Å, more than bonds vibrate by; store them "
        "with decimals"
    ),
    "rounded-velocities": _noisy,
    "temperature-drift": _heated,
    "heavy-hydrogens": lambda v, f: (
        f"hydrogens have {v['heat']:.2g} times the temperature of all other atoms, as they seem to "
        "have where a simulation makes them heavy to take longer steps: give a topology that holds "
        "masses (--top, .prmtop or .psf), as momenta, temperatures and what is learned from forces "
        "are wrong otherwise"
    ),
    "fixed-atoms": lambda v, f: (
        f"{count(v['count'], 'atom')} that never {'moves' if v['count'] == 1 else 'move'}, as a "
        "simulation may hold them: predictions leave them where they start (not where targets are "
        "superposed), and means over atoms look the better for it; score the others "
        "(--set windows.score=...)"
    ),
    "missing-frames": lambda v, f: (
        f"the file holds {percent(v['present'])} of the series' frames; starts are frames that "
        "have another within four steps beside them"
    ),
    "turns-unaligned": lambda v, f: (
        f"the molecule turns by {v['angle_deg']:.0f}° within the horizon and nothing in the file "
        "tells which way; superpose targets on their start"
    ),
    "still-aligned": lambda v, f: (
        f"targets are superposed on their start, though the molecule turns by only "
        f"{v['angle_deg']:.2g}° within the horizon"
    ),
}
