"""Training of KGML-ag-Carbon: measurements as lessons, the ensemble, its folds, its experiments."""
