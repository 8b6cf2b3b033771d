"""How each task is answered, a file each; declared in `autoglm_api.catalog`."""
