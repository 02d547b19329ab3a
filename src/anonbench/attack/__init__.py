"""The `attack` stage: what attackers who know the method still learn of the people in a variant."""
