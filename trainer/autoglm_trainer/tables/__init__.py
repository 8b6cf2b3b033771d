"""Tables: typed columns, features, and learners that end up in one ONNX graph from a row's numbers to its answer."""
