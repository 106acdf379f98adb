"""A catalogue and past events in, how well systems would have ranked out: ours and its peers."""
