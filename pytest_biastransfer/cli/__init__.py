"""The commands of ``biastransfer``: each module adds one to the parser and runs it."""
