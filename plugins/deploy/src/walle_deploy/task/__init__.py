"""Tasks as git: walle.toml, a scenario's repository with signed versions, and the check that all parts fit."""
