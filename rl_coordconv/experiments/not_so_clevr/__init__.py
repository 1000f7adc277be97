"""The CoordConv paper's toy tasks: coordinates to a pixel, to a square, and back."""
