"""Our own generative anonymizer: a conditional U-Net GAN with a style space, fitted on a training split."""
