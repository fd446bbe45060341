"""The descent: the cost as a list of terms, and the optimizers that lower it."""
