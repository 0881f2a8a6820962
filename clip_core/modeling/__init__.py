"""Framework-free part of the backends: attention, embeddings, outputs, the parameter table and the stages. Internal."""
