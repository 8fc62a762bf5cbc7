"""Is a dataset poisoned, and how? Told from its images and labels alone, without any record of a build."""
