"""The names and layouts of each library: tables of rules, usable in both directions. Internal."""
