"""The attack itself: pure functions on arrays, without files, options or hidden randomness."""
