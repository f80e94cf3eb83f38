"""Conversion of a published release into a store, its proof, and the way back."""
