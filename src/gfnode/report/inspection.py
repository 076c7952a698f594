"""What is in a trajectory, section by section, in words.

Everything here takes the inspection as JSON has it; docs/inspection.md says what each number is.
"""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gfnode.report.findings import (
    Found,
    about,
    followed,
    frame_words,
    jump_words,
    original_words,
    parts_of,
    percent,
)
from gfnode.report.numbers import rough
from gfnode.report.sentences import called
from gfnode.trajectory.clock import Clock
from gfnode.trajectory.lengths import UNITS
from gfnode.units import count, format_time, listed

Row = tuple[str, str]

MOST_FILES = 6
"""Rows for at most so many files."""

LARGEST = 64
"""Atoms that a potential is learned of, see :class:`gfnode.models.newton.Newton`."""


def inspection_sections(found: Found) -> Iterator[tuple[str, list[Row]]]:
    """Title and rows (label, text) of every section of details."""
    yield "gfnode train chooses", list(_choices(found))
    yield "Frames", list(_frames(found))
    yield "Units", list(_units(found))
    yield "Motion", list(_motion(found))
    yield "Molecule", list(_molecule(found))


def inspection_table(found: Found) -> Group:
    """All sections as tables of two columns."""
    parts: list[RenderableType] = []
    for title, rows in inspection_sections(found):
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, min_width=13)
        table.add_column(overflow="fold")
        for label, text in rows:
            table.add_row(Text(f"  {label}"), Text(text))
        parts += [Text(title, style="bold"), table]
    return Group(*parts)


def headline(found: Found) -> str:
    """What the data is, in one line."""
    files, atoms = found["files"], found["structure"]
    frames = sum(each["frames"] for each in files)
    several = f" in {len(files)} trajectories" if len(files) > 1 else ""
    what = f"{called(files[0]['name'], atoms['formula'])}: {count(atoms['atoms'], 'atom')}"
    spacing = {each["spacing_fs"] for each in files}
    even = ""
    if len(spacing) == 1 and None not in spacing:
        even = f" every {format_time(spacing.pop())}"
    span = format_time(sum(each["span_fs"] for each in files))
    over = f", {span}" if frames > 1 else ""
    return f"{what}, {count(frames, 'frame')}{several}{even}{over}"


def _choices(found: Found) -> Iterator[Row]:
    c = found["choices"]
    if c["problem"]:
        yield "nothing", "training is refused, see above"
    if c["horizon_fs"] is not None:
        long = "" if c["horizons"] is None else f"; the data is {c['horizons']:.3g} times as long"
        yield "horizon", f"{format_time(c['horizon_fs'])}, the longest lag predicted{long}"
    if c["windows"]:
        w, i = c["windows"], c["independent"]
        yield (
            "windows",
            f"{w['train']} training, {w['validation']} validation, {w['test']} test "
            f"({c['split']} split), each a start and {count(c['times'], 'later frame')}; "
            f"{i['train']}, {i['validation']} and {i['test']} of them do not overlap",
        )
        yield "velocities", _velocity_words(c)
        yield "forces", _force_words(found)
        aligned = "not superposed on the start"
        if c["align"]:
            aligned = "superposed on the start: only changes of shape are learned"
        yield "targets", aligned
    heavy = c["scored"] == "heavy"
    scored = count(c["score_atoms"], "heavy atom" if heavy else "atom")
    scored += " (all but hydrogen)" if heavy else ""
    yield "atoms", f"{c['state_atoms']} in the model; scored: {scored}"
    if c["edges"] is not None:
        pieces = "" if c["pieces"] == 1 else f", in {c['pieces']} unconnected pieces"
        yield "graph", f"{c['edges']} directed edges{pieces}"
        yield "batch", count(c["batch"], "window")


_FORCES = {
    "stored": "stored in the file: a potential is learned from them, which takes minutes",
    "shown": "from consecutive frames: a potential is learned from them, which takes minutes",
    "few": "none: the training part has too few frames to learn a potential",
    "rigid": "none: files leave out the forces that constrain bonds, so no potential is learned",
    None: "none: no potential is learned",
}


def _force_words(found: Found) -> str:
    choices = found["choices"]
    said, atoms = _FORCES[choices["forces"]], choices["state_atoms"]
    if choices["forces"] or choices["align"] or choices["across"]:
        return said  # there are some, or they would not tell, or a potential would not help
    if found["momenta"]["rigid_bonds"]:
        return _FORCES["rigid"]
    if atoms > LARGEST:
        return f"none: a potential is learned for at most {LARGEST} atoms, here are {atoms}"
    return (
        f"{said}; forces in the file, or frames at most 1 fs apart with five decimals, would "
        "greatly improve predictions"
    )


def _velocity_words(choices: Found) -> str:
    if choices["velocities"] == "stored":
        return "stored in the file"
    gap = choices["velocity_gap_fs"]
    if choices["velocities"] == "next-frame":
        return f"from the next frame, at most {format_time(gap)} later"
    return f"from the previous frame, at most {format_time(gap)} earlier"


def _frames(found: Found) -> Iterator[Row]:
    several = len(found["files"]) > 1
    said, whole = set[str](), dict[int, Found]()
    for part, each in zip(parts_of(found), found["files"], strict=True):
        whole.setdefault(part.file, each)  # molecules of one file have its times
    files = list(whole.values())
    for number, each in enumerate(files[:MOST_FILES]):
        label = f"file {number + 1}" if len(files) > 1 else "times"
        yield label, (f"{each['name']}: " if len(files) > 1 else "") + _times(each)
        for note in each["notes"]:
            if note not in said:
                yield "", note
            said.add(note)
        for gap in each["first_gaps"]:
            yield "", f"gap of {format_time(gap['length_fs'])} after frame {gap['frame']}"
    if len(files) > MOST_FILES:
        yield "", f"and {len(files) - MOST_FILES} more"
    f = found["frames"]
    rounded = f["rounded_to"]
    yield (
        "precision",
        f"positions rounded to {rounded:.2g} Å" if rounded else "no rounding detected",
    )
    yield "duplicates", _repeats(f, several)
    for each in f["first_duplicates"]:
        yield "", f"{frame_words(each, found)} is identical to {original_words(each, found)}"
    for each in f["first_near_duplicates"]:
        yield (
            "",
            f"{frame_words(each, found)} is almost identical to {original_words(each, found)}: "
            f"rms difference {rough(each['moved'])} Å (normally {rough(f['usual_move'])} Å)",
        )
    yield "jumps", f"{f['jumps']}" if f["jumps"] else "none"
    for each in f["first_jumps"]:
        yield "", jump_words(each, found)
    if f["wrapped"]:
        yield "wrapping", f"atoms jump across the periodic cell {count(f['wrapped'], 'time')}"


def _times(file: Found) -> str:
    if file["frames"] == 1:
        return "a single frame"
    text = f"{file['frames']} frames over {format_time(file['span_fs'])}"
    if file["spacing_fs"] is not None:
        return f"{text}, every {format_time(file['spacing_fs'])}, no gaps"
    ends = [format_time(file[key]) for key in ("shortest_fs", "median_fs", "longest_fs")]
    text += f", unevenly spaced: {ends[0]} to {ends[2]}, median {ends[1]}"
    if file["gaps"]:
        return f"{text}; {count(file['gaps'], 'gap')}"
    return (
        f"{text}; {count(file['consecutive'], 'pair')} one time step apart; the file contains "
        f"{percent(file['present'])} of the series"
    )


def _repeats(frames: Found, several: bool) -> str:
    if not (frames["duplicates"] or frames["near_duplicates"]):
        return "none" if not several else "none within or between files"
    return f"{frames['duplicates']} exact, {frames['near_duplicates']} near"


def _units(found: Found) -> Iterator[Row]:
    lengths = found["lengths"]
    if lengths["ratio"] is None:
        yield "lengths", "cannot be checked: a single atom"
    else:
        unit = lengths["unit"]
        fits = f"{UNITS[unit]} fits" if unit else "no unit fits bonded atoms"
        symbol = {"angstrom": " Å", None: ""}.get(unit, f" {unit}")
        yield (
            "lengths",
            f"{fits}: median nearest-neighbour distance {lengths['nearest']:.3g}{symbol}, sum of "
            f"covalent radii {lengths['expected']:.3g} Å",
        )
    if found["scaled_by"] != 1:
        yield "", f"all other numbers here are for positions multiplied by {found['scaled_by']:g}"
    yield from _clock(found["clock"], single=all(each["frames"] == 1 for each in found["files"]))


def _clock(clock: Found, *, single: bool) -> Iterator[Row]:
    if clock["stated_fs"] is None:
        return
    stated = format_time(clock["stated_fs"])
    if clock["angle"] is not None:
        bond = clock["bond"].replace("-", "–")
        fit = "fits" if clock["swing_fits"] else f"does not fit ({about(clock['step_fs'])} would)"
        heavy = Clock(**clock).heavy
        if heavy:
            fit = "fits velocities alone"
        yield (
            "time step",
            f"{stated} {fit}: with it, {count(clock['bonds'], bond + ' bond')} "
            f"{'vibrates' if clock['bonds'] == 1 else 'vibrate'} at "
            f"{clock['wavenumber']:.0f} cm⁻¹ (typically about "
            f"{clock['usual_wavenumber']:.0f} cm⁻¹)" + heavy * ": are hydrogens heavier in it?",
        )
    else:
        why = {
            "no hydrogen": "there are no bonds to hydrogen",
            "rigid": "bonds to hydrogen have a fixed length",
            "too far apart": "bonds to hydrogen show no clear vibration from frame to frame",
            None: "too few frames",
        }[clock["why_not"]]
        why = "a single frame shows no vibration" if single else why
        yield "time step", f"{stated}, cannot be checked against bond vibrations: {why}"
    if clock["step_stored_fs"] is not None:
        yield (
            "",
            f"stored velocities match displacements over a step of "
            f"{about(clock['step_stored_fs'])}",
        )


def _motion(found: Found) -> Iterator[Row]:
    m, motion = found["momenta"], found["motion"]
    if m["temperature"] is None:
        yield (
            "temperature",
            "unknown: no velocities in the file, and frames too far apart to derive them"
            if m["interval_fs"]
            else "unknown: no velocities in the file",
        )
    else:
        yield "temperature", _temperature(m)
        yield "momentum", _momentum(m["linear"])
        if m["angular"]:
            yield "", "angular: " + _momentum(m["angular"])
    if motion is None:
        return
    yield "drift", _drift(motion["drift"])
    c, turning = found["choices"], _turning(found)
    if turning:
        yield "rotation", turning
    if motion["moved_at_horizon"] is not None:
        yield (
            "to predict",
            f"the scored atoms move {rough(motion['moved_at_horizon'])} Å (rms) within "
            f"{format_time(c['horizon_fs'])}, "
            f"{rough(motion['changed_at_horizon'])} Å after superposition (change of shape)",
        )
    inner = [each for each in motion["motions"] if each["kind"] != "turning"]
    within = f"within {molecule}: " if (molecule := followed(found)) else ""
    for number, each in enumerate(inner[:3]):
        yield "slowest" if not number else "", (within if not number else "") + _slow(each)


def _temperature(m: Found) -> str:
    source = "stored velocities"
    if m["source"] == "differences":
        source = f"displacements over {format_time(m['interval_fs'])}"
    text = f"{m['temperature']:.0f} K over all {m['degrees_all']} degrees of freedom (3 per atom)"
    left = []
    if m["fixed_atoms"]:
        left.append(f"{m['fixed_atoms']} fixed atoms")
    if m["rigid_bonds"]:
        left.append(f"{m['rigid_bonds']} fixed distances")
    if m["linear"]["kind"] == "zero":
        left.append("zero momentum")
    if m["angular"] and m["angular"]["kind"] == "zero":
        left.append("zero angular momentum")
    if left and m["degrees"]:
        text += (
            f", {m['temperature_degrees']:.0f} K over the {m['degrees']} free ones ({listed(left)})"
        )
    if m["rounding_temperature"] > 0.1 * m["temperature"]:
        source += ", uncertain because positions are rounded"
    return f"{text}; from {source}"


def _momentum(momentum: Found) -> str:
    share = f"{percent(momentum['ratio'])} of the thermal value"
    return {
        "zero": f"zero ({share})",
        "constant": f"conserved ({share})",
        "direction kept": (
            f"constant in direction; magnitude varies by {percent(momentum['spread'])} ({share})"
        ),
        "fluctuating": f"not conserved ({share})",
        "unknown": "obscured by the rounding of positions",
    }[momentum["kind"]]


def _drift(drift: Found) -> str:
    if drift["farthest"] < 1e-3:
        return "none: the centre of mass does not move"
    return (
        f"the centre of mass ends {rough(drift['net'])} Å from its starting point, at most "
        f"{rough(drift['farthest'])} Å away"
    )


def _turning(found: Found) -> str:
    motion, horizon = found["motion"], found["choices"]["horizon_fs"]
    if not motion["lags_fs"]:
        return ""
    turning = next((each for each in motion["motions"] if each["kind"] == "turning"), None)
    if turning is None:
        molecule = followed(found) or "the molecule"
        return f"none: frames were superposed, or {molecule} does not rotate"
    text = f"{molecule}: " if (molecule := followed(found)) else ""
    if motion["angle_at_horizon_deg"] is not None:
        angle = rough(motion["angle_at_horizon_deg"])
        text += f"by {angle}° on average within {format_time(horizon)}; "
    if turning["memory_fs"] is None:
        return f"{text}correlation time above {about(motion['lags_fs'][-1])}"
    return f"{text}correlation time {about(turning['memory_fs'])}"


def _slow(each: Found) -> str:
    size = f" ({rough(each['size'])} Å rms)" if each["size"] else ""
    name = {
        "torsion": f"torsion about {each['name']}",
        "shape": f"shape mode {each['name']}{size}",
    }[each["kind"]]
    if each["memory_fs"] is None:
        return f"{name}: correlation time longer than the data can show"
    return f"{name}: correlation time {about(each['memory_fs'])}"


_ODD_BONDS = {
    "only_topology": "bonded in the topology, but far apart",
    "only_distances": "at bonding distance, but not bonded in the topology",
}


def _molecule(found: Found) -> Iterator[Row]:
    s = found["structure"]
    kinds = ", ".join(f"{count} {formula}" for formula, count in s["kinds"])
    more = s["kinds_of_molecules"] - len(s["kinds"])
    yield "molecules", kinds + (f" and {more} more kinds" if more else "")
    ways = {"topology": "from the topology", "distances": "from distances"}
    text = f"{s['bonds']}, {ways[s['bonds_from']]}"
    if s["bonds_by_topology"] is not None:
        text += f"; {s['bonds_by_distances']} from distances"
    yield "bonds", text
    for key, words in _ODD_BONDS.items() if found["lengths"]["unit"] else ():  # no beads
        for each in s[f"first_{key}"]:
            i, j = each["atoms"]
            yield "", f"atoms {i} and {j}: {words} ({each['length']:.3g} Å)"
    groups = ", ".join(f"{count} {formula}" for formula, count in s["groups"])
    rest = s["number_of_groups"] - sum(count for _, count in s["groups"])
    words = "none that can rotate about a single bond"
    if groups:
        more = f" and {rest} more" if rest else ""
        words = f"{groups}{more}, which can rotate about a single bond"
    molecule = followed(found)
    yield "groups", f"in {molecule}: {words}" if molecule else words
    if s["cell"]:
        yield "cell", _cell(s["cell"])


def _cell(cell: Found) -> str:
    sides = " × ".join(f"{each:.4g}" for each in cell["lengths"])
    angles = ", ".join(f"{each:.4g}°" for each in cell["angles_deg"])
    text = f"{sides} Å, {angles}, {'constant' if cell['constant'] else 'variable'}"
    if cell["broken_bonds"]:
        number = f"{cell['broken_molecules']:.3g}"
        what = "molecule" if number == "1" else "molecules"
        return f"{text}; cuts {number} {what} per frame on average"
    return f"{text}; no bond crosses it"
