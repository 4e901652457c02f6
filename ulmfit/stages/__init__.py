"""The three stages of the paper's figure 1, each a function from a config and folders to one folder."""
