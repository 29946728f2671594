"""OpenAI's endpoints, a file each, as its clients use them."""
