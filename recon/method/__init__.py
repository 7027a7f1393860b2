"""LF-MRI: the denoiser, the lesion term, the cascade, and the weights with their model card."""
