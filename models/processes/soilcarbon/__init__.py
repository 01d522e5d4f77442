"""The vertically resolved soil-carbon model of CLM5: 7 pools in 20 layers, its steady state and its course in time."""
