"""Tasks: losses, confidence and measures of each kind of target."""
