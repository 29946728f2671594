"""What makes features of samples: a module each, named in the manifest."""
