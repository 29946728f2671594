"""The networks: mapping, synthesis of StyleGAN2 and StyleGAN3, and the discriminator."""
