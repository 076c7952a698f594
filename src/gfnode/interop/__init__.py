"""Trajectories to and from the objects of other libraries: mdtraj, ASE, MDAnalysis.

Units are converted here, as in :mod:`gfnode.readers`. Each module holds one library, which is
imported when it is asked for; MDAnalysis is an optional extra.
"""
