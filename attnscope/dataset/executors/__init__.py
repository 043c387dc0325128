"""Where the work of a build is done: here, in processes of this machine, or on a cluster. The rows are the same."""
