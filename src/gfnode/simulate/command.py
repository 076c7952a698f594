"""The command line that makes a trajectory, as it is stored with it."""

import shlex
from collections.abc import Mapping
from typing import Any

from gfnode.simulate.protocol import Protocol


def command_line(what: str, details: Mapping[str, Any], plan: Protocol) -> str:
    """Write the command that makes a trajectory."""
    words = ["gfnode", "simulate", what]
    for key, value in details.items():
        if key == "options":
            words += [word for k, v in value.items() for word in ("--option", f"{k}={v}")]
        else:
            words += [f"--{key.replace('_', '-')}", str(value)]
    words += ["--temperature", f"{plan.temperature:g}K", "--steps", str(plan.frames * plan.every)]
    for key, fs in (
        ("time-step", plan.time_step),
        ("every", plan.spacing),
        ("equilibrate", plan.equilibrate * plan.time_step),
        ("coupling", plan.coupling),
    ):
        words += [f"--{key}", f"{fs:.10g}fs"]
    words += ["--thermostat", plan.thermostat, "--degrees", plan.degrees, "--seed", str(plan.seed)]
    if plan.replica:
        words += ["--replica", str(plan.replica)]
    return shlex.join(words)
