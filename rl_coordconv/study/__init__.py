"""Many runs from one file, on this machine or on a Ray cluster; `supervise.py` is the main path."""
