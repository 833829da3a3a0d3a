"""Transfer of instances: source rows are weighed or chosen by their use for the target."""
