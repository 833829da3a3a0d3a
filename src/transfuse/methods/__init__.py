"""Ways to transfer: one folder a family, one file a method; `catalogue` names them all."""
