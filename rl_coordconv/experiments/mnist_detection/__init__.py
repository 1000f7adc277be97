"""The paper's object detection: region proposals and Faster R-CNN on canvases of MNIST digits."""
