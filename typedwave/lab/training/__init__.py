"""Training in memory: recipes, and the steps that they describe."""
