"""What models say of the rows of a split, a file for each kind of answer; they meet `contract.Predictions`."""
