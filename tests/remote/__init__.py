"""Engines and stores of other machines, here on loopback: `make test-remote` installs what they need."""
