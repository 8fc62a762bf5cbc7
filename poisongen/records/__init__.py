"""What a build says of itself: typed records, written by one room and read by the others."""
