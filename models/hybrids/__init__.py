"""Hybrids: networks that give a process model its parameters."""
