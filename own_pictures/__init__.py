"""From a folder of one's own pictures to a classifier, in one command."""
