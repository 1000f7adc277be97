"""The paper's generative models: GAN and VAE on two coloured objects, or on a folder of images."""
