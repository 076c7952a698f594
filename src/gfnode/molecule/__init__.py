"""Molecules: internal coordinates, torsions, periodic images, checks, the system of a model."""
