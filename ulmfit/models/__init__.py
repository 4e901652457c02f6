"""Ids -> activations: the backbones, the language model and the classifier made from it."""
