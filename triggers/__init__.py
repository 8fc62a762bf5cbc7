"""The built-in triggers: RGBA PNGs of 256x256 px, drawn by draw.py in this folder."""
