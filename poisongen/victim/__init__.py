"""The models that a poisoned dataset is made for: training them, and measuring what the backdoor does to them.

This package reads datasets and manifests and knows nothing of how they were built. Its metrics need NumPy only; what
needs torch (the extra `train`) says so when it is called.
"""
