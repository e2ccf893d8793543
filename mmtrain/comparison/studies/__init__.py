"""The studies of this package, one TOML file each; see `mmtrain.comparison.study`."""
