"""Composition: does a model tell a caption from one in which a single attribute, object, relation or number is wrong?"""
