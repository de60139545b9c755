"""The towers of BLIP, and the network that reads a caption together with an image."""
