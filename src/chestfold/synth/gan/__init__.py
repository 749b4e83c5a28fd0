"""A self-attention GAN that draws nodule patches."""
