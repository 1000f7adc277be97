"""The paper's image classification: networks with one CoordConv layer in front."""
