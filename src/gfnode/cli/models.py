"""``gfnode models``."""

from gfnode.cli.app import app
from gfnode.cli.console import console
from gfnode.presets import SUMMARIES
from gfnode.terminal import titled_table


@app.command(
    epilog="""\b
Examples:
  gfnode models
  gfnode settings model --model egno
  gfnode train --data sample:toluene --set model.name=rigid-rotor --out runs/rotor"""
)
def models() -> None:
    """List the models, the symmetries they keep, and the presets."""
    from gfnode.models import MODELS, Symmetry

    terminal = console()
    heads = ("name", "what it is", "symmetries kept")
    table = titled_table("Models (--set model.name=NAME)", *heads)
    for name, entry in MODELS.items():
        broken = ", ".join(each for each in Symmetry if each not in entry.model.promises)
        origin = MODELS.origin(name)
        summary = f"{entry.summary} (from {origin})" if origin else entry.summary
        table.add_row(name, summary, f"all but {broken}" if broken else "all")
    terminal.print(table)
    terminal.print(
        f"All symmetries: {', '.join(Symmetry)}. The prediction is translated, rotated, "
        "reflected and permuted with the start, does not depend on other starts in the batch "
        "or on the other lags requested, and approaches the start as the lag goes to zero.\n"
    )
    terminal.print("Options of a model and their meanings: gfnode settings model --model NAME\n")
    for name, summary in SUMMARIES.items():
        terminal.print(f"--preset {name}: {summary}")
