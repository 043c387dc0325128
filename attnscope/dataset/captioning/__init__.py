"""What can be asked to say what is seen in pictures: an endpoint of the user's, or a model of the local cache."""
