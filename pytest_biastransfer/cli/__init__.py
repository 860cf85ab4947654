"""The subcommands of ``biastransfer``. Each module adds its own to the parser, and runs it."""
