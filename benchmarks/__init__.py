"""How fast and how large this project is, against the lab as written and against what the hardware allows.

Every measurement runs in a process of its own (`worker`), so that none inherits another's settings or memory.
"""
