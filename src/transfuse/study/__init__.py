"""The recipe and the main path: data, rank, plan, fit, compare, choose, save."""
