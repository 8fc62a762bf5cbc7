"""Recognising a poisoned dataset by its images and labels alone: the kinds of evidence, and what they add up to."""
