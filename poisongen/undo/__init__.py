"""The way back: what a build keeps for it, and giving the clean dataset back."""
