"""The second level of control: the whole cluster seen at once, and policies that steer it."""
