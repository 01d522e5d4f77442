"""BINN (Xu, Tao et al. 2025): a network gives the soil-carbon model its 21 parameters, place by place."""
