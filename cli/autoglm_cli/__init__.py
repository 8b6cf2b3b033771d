"""The command line: `autoglm`, also `kubectl autoglm`."""
