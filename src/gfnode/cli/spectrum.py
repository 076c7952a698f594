"""``gfnode spectrum``."""

from pathlib import Path
from typing import Annotated

import typer

from gfnode.cli.app import app
from gfnode.cli.options import AS_STORED, Json, Output, Reading, keep_inputs, load, reads


@app.command(
    epilog="""\b
Examples:
  gfnode spectrum sample:toluene
  gfnode spectrum sample:toluene --out spectrum.png --json spectrum.json
  gfnode spectrum md17_benzene.npz --select heavy --csv curves.csv
  gfnode spectrum md.xtc --top md.pdb --resolution 5 --as-is
  gfnode spectrum sample:toluene --json - | jq .rank_correlation"""
)
@reads()
def spectrum(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Trajectory file, or sample:toluene; several files of the same atoms are "
            "replicas.",
        ),
    ],
    reading: Reading = AS_STORED,
    resolution: Annotated[
        float,
        typer.Option(
            metavar="CM",
            help="Spacing of the points of a spectrum, in 1/cm; coarser if the series is too "
            "short.",
        ),
    ] = 10.0,
    superpose: Annotated[
        bool,
        typer.Option(
            "--superpose/--as-is",
            help="Superpose every frame on the mean shape before splitting it into modes, or use "
            "frames as they are, tumbling included.",
        ),
    ] = True,
    hops: Annotated[
        int,
        typer.Option(
            metavar="BONDS",
            min=1,
            max=100,
            help="The graph connects atoms up to so many bonds apart.",
        ),
    ] = 2,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Plot the spectra: .png, .svg or .pdf."),
    ] = None,
    csv_file: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write every curve against frequency."),
    ] = None,
    json_file: Json = None,
) -> None:
    """Show how fast a molecule moves: spectra and graph modes."""
    from gfnode.files import as_json, write_text
    from gfnode.physics.spectrum import spectrum as take
    from gfnode.report import spectra as words
    from gfnode.report.plots import check_picture, save_figure

    output = Output(json_file)
    terminal = output.terminal
    keep_inputs([out, csv_file, output.target], files, reading.top)
    check_picture(out)
    given = load(files, reading.reader())
    found = take(given, resolution_cm=resolution, superposed=superpose, hops=hops)
    result = as_json(found.to_dict())
    terminal.print(words.spectrum_headline(result), soft_wrap=True, style="bold")
    terminal.print()
    terminal.print(words.spectrum_table(result))
    output.say(*words.spectrum_words(result))
    names, columns = found.table()
    if out is not None:
        save_figure(words.draw_spectrum(result, columns), out, dpi=110)
        output.say(f"plot: {out}")
    if csv_file is not None:
        lines = [",".join(names)]
        lines += [",".join(f"{value:.8g}" for value in row) for row in columns]
        write_text(csv_file, "\n".join(lines) + "\n")
        output.say(f"curves: {csv_file}")
    output.numbers(result)
