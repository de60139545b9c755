"""The second reading of a method claim: a hierarchical Bayesian model beside the tests, never instead of them."""
