"""Transfer by asking: a pretrained decoder is prompted, nothing is trained."""
