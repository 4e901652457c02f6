"""From weights to answers: what one can do with a trained folder. Nothing here changes a weight."""
