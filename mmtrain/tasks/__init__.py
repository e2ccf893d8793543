"""What is learnt: losses, confidence and measures of each kind of target."""
