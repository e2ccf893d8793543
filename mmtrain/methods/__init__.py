"""Methods that balance the modalities: one file each, see `mmtrain.methods.base`."""
