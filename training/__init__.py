"""Training of scDiVa models: from count matrices to a model folder that every scdiva backend loads."""
