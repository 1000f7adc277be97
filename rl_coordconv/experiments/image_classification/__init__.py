"""The paper's image classification: ResNet-50 with or without one CoordConv layer in front."""
