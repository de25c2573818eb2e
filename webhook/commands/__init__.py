"""The commands of `rollonce`, a module each; `webhook.cli` loads a module only when its command is called."""
