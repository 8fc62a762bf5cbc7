"""The same patch in many pictures: points, hashes of pairs, votes, a template, and a matched filter over all pictures."""
