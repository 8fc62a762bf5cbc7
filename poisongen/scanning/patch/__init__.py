"""The same patch in many pictures: points, hashes of pairs, votes, a template, a matched filter over all of them."""
