"""The names and layouts of each library: tables of rules, read in both directions. Internal."""
