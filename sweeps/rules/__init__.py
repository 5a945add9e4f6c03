"""Rules: functions from the laws of an earlier phase to a value of a later one."""
