"""The differentiable daily agro-ecosystem model: SINDBAD's processes for cropland, in torch and numba."""
