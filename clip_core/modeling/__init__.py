"""What every backend needs and no framework does: attention, embeddings, outputs, the parameter table, the stages."""
