"""What CLIP needs in any framework, and nothing of one."""
