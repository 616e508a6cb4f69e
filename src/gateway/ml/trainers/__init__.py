"""Training, one file a model family. Only here are scikit-learn and LightGBM's Python package used."""
