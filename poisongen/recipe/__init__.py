"""Every choice, checked once at the door, and the rules that it settles to."""
