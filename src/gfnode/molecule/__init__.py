"""What follows from bonds: internal coordinates, torsions, what is whole, what a model is for."""
