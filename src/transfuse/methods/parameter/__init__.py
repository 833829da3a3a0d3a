"""Transfer of parameters: pretrained weights are where training starts."""
