"""What is told of a corpus: where it comes from, how varied it is, who stands near what."""
