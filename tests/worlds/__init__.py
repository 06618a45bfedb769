"""Two worlds: the same server twice, the same history but for what one asker must not notice. access-rules, non-interference."""
