"""The speed and memory of this project, compared with the lab as written and with the limits of the hardware.

Every measurement runs in a separate process (`worker`), so that none inherits the settings or memory of another.
"""
