"""The floor that every experiment stands on: one run is one folder."""
