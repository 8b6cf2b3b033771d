"""The operator: watches studies and endpoints, plans, and applies."""
