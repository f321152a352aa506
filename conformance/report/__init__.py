"""What a run says when it is over: the JSON report, its Markdown form, the verdict of each profile."""
