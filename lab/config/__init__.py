"""lab.yaml for people and editors: written with comments, shown with origins, described, changed line by line."""
