"""Seeded damage to every file that a stranger may hand over."""
