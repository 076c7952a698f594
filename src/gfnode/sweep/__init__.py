"""Many runs at once: independent jobs, kept in one folder, done by processes, Ray or SLURM.

A job is a run that is known beforehand: data, configuration, seed. Its folder is named by a key of
these, so that whatever has been done once, by whichever sweep, is never done again. All state is in
the folders; a sweep that was killed is started again and goes on.
"""

from gfnode.sweep.jobs import Job, Measure
from gfnode.sweep.schedule import Summary, sweep
from gfnode.sweep.store import State, Store, Task

__all__ = ["Job", "Measure", "State", "Store", "Summary", "Task", "sweep"]
