"""Files of pictures: PNG and JPEG changed in one place and kept everywhere else, and whole files on disk."""
