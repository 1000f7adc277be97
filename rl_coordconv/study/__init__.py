"""Train the runs of a study file, on this machine or on a Ray cluster; start at `supervise.py`."""
