"""What runs the graphs: the shapes in `base`, one file per backend."""
