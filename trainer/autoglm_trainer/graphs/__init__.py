"""Networks on graphs: layers, neighbourhoods, training, export. Arrays only; rows are read in `rows`."""
